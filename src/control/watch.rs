//! Looks whether the files of the configuration have changed, and asks for a reload when they have.
//!
//! ```toml
//! [gateway]
//! watch = true                # the default
//! ```
//!
//! It asks the file system twice a second what stands at the paths of the files, on a thread that may be kept waiting. A
//! listener to changes (inotify) would hear of them sooner, but it listens to what stood at a path when it began: it
//! says nothing once a directory is replaced, a link leads elsewhere (as orchestrators publish files) or the other end
//! of a network mount has written, and whoever looks again for all of these needs no listener.
//!
//! What has changed is taken once it has stood still from one look to the next, so that a file that is being written is
//! not read in its middle; and only if its content is another one than that of the last attempt.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use super::reload::ReloadHandle;
use crate::snapshot::publish::Published;

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(500);

/// What stands at a path, as far as can be seen without reading it: device, inode, size, and when content and inode were
/// changed; `None` where nothing can be seen.
type Looks = Option<[i64; 7]>;

/// Looks after the files of the configuration, for as long as it runs.
pub(super) async fn watch(published: Arc<Published>, board: Arc<Board>, reload: ReloadHandle) {
    let mut paths = board.watched();
    let mut known = look(paths.clone()).await;
    // As it may have since it was first read.
    let mut moving = true;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let wanted = board.watched();
        if wanted != paths {
            // What was read may have changed before this look, which would not tell: its content does.
            paths = wanted;
            (known, moving) = (look(paths.clone()).await, true);
        }
        let seen = look(paths.clone()).await;
        if seen != known {
            (known, moving) = (seen, true);
        } else if std::mem::take(&mut moving) && published.current().snapshot.gateway.watch {
            // How it ends is in the log.
            let _ = reload.changed().await;
        }
    }
}

/// What stands at each path.
async fn look(paths: Vec<PathBuf>) -> Vec<Looks> {
    let all = move || paths.iter().map(|path| fs::metadata(path).ok().map(|data| looks(&data))).collect();
    tokio::task::spawn_blocking(all).await.unwrap_or_default()
}

fn looks(data: &fs::Metadata) -> [i64; 7] {
    let (device, inode, size) = (data.dev().cast_signed(), data.ino().cast_signed(), data.size().cast_signed());
    [device, inode, size, data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()]
}

/// A number that stands for the content of all these files, and for the names in all these directories. It reads them.
pub(super) fn content(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        path.hash(&mut hasher);
        if path.is_dir() {
            names(path).hash(&mut hasher);
        } else {
            fs::read(path).map_err(|error| error.kind()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// The names in a directory, in order, but not those that editors hide.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.') && !name.ends_with('~')).collect();
    names.sort_unstable();
    names
}
