//! Wrong files and the exact words that their authors get to read, and the files under `config/`, which are right.
//!
//! Each `golden/NAME.toml` has its message in `golden/NAME.txt`. After a change, `BLESS=1 cargo test golden` writes the
//! messages anew: read each as somebody who has just made that mistake.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::base::units::Setting;
use crate::snapshot::Snapshot;
use crate::upstream::ejection::EjectionConfig;
use crate::upstream::settings::PoolConfig;

fn files_in(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

fn parse(text: &str) -> Config {
    Config::parse("test.toml", text).unwrap_or_else(|faults| panic!("{}", faults.render(false)))
}

#[test]
fn golden() {
    let files = files_in("src/config/golden");
    assert!(files.len() >= 80);
    let prefix = format!("{}/", Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/golden").display());
    let environment = Environment::of([("USERS_HOST", "not a host"), ("EMPTY", "")]);
    let mut different = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let faults = match Config::load_in(&file, &environment) {
            Ok(config) if config.warnings.is_empty() => panic!("{name} has no fault"),
            Ok(config) => config.warnings(),
            Err(faults) => faults,
        };
        let is = format!("{}\n{}\n", faults.render(false), faults.compact()).replace(&prefix, "");
        let message = file.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&message, &is).unwrap();
        } else if fs::read_to_string(&message).unwrap_or_default() != is {
            different.push(format!("{name} now says:\n{is}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn every_file_of_ours_is_right() {
    for file in files_in("config").into_iter().chain(files_in("config/examples")) {
        let config = Config::load(&file).unwrap_or_else(|faults| panic!("{}", faults.render(false)));
        Snapshot::compile(&config).unwrap_or_else(|faults| panic!("{}", faults.render(false)));
        // A false alarm teaches people not to read.
        assert!(config.warnings.is_empty(), "{}", config.warnings().render(false));
    }
}

#[test]
fn the_reference_file_has_every_default() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gateway.toml")).unwrap();
    let written = parse(&text);
    assert_eq!(written.gateway, GatewayConfig::default());
    let Setting::On(admin) = &written.admin else { panic!("it is on") };
    assert_eq!(admin.address.get_ref(), AdminConfig::default().address.get_ref());
    assert!(admin.token.is_none() && admin.hosts.is_empty());
    assert_eq!(written.services[0].pool, PoolConfig::default());
    assert_eq!(written.services[0].ejection, Setting::On(EjectionConfig::default()));

    // Without any line that sets a default, the same must come out.
    let bare = Config::parse("bare.toml", &without_defaults(&text)).unwrap();
    let (written, bare) = (Snapshot::compile(&written).unwrap(), Snapshot::compile(&bare).unwrap());
    assert_eq!(format!("{:?}", written.routes), format!("{:?}", bare.routes));
    assert_eq!(format!("{:?}", written.services), format!("{:?}", bare.services));
}

#[test]
fn the_reference_file_has_every_key() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gateway.toml")).unwrap();
    // An unknown key is answered with all that are known.
    let probe = "zzzzzzzz = 1\n[gateway]\nzzzzzzzz = 1\n[gateway.limits]\nzzzzzzzz = 1\n[gateway.request_id]\nzzzzzzzz = 1\n[listeners.x]\nzzzzzzzz = 1\n\
        [admin]\nzzzzzzzz = 1\n[access_log]\nzzzzzzzz = 1\n[access_log.sample]\nzzzzzzzz = 1\n[access_log.mask]\nzzzzzzzz = 1\n[services.x]\nzzzzzzzz = 1\n[services.x.pool]\nzzzzzzzz = 1\n\
        [services.x.health]\nzzzzzzzz = 1\n[gateway.dns]\nzzzzzzzz = 1\n[services.x.ejection]\nzzzzzzzz = 1\n[services.x.retries]\nzzzzzzzz = 1\n[services.x.affinity]\nzzzzzzzz = 1\n\
        [services.x.fallback]\nzzzzzzzz = 1\n[services.x.balance]\nmethod = \"consistent_hash\"\nzzzzzzzz = 1\n\
        [services.y]\ntargets = [{ zzzzzzzz = 1 }]\nbalance = { method = \"p2c_ewma\", zzzzzzzz = 1 }\n[defaults]\nzzzzzzzz = 1\n\
        [routes.x]\nzzzzzzzz = 1\n[routes.x.limits]\nzzzzzzzz = 1\n[routes.x.request_headers]\nzzzzzzzz = 1\n";
    let faults = Config::parse("probe.toml", probe).unwrap_err();
    let lists: Vec<&str> =
        faults.iter().filter_map(|fault| fault.help.as_deref()?.strip_prefix("there is only: ")).collect();
    assert_eq!(lists.len(), 24, "{faults}");
    for key in lists.iter().flat_map(|list| list.split(", ")) {
        let is_there = [format!("{key} = "), format!("[{key}]"), format!("[{key}."), format!(".{key}]")];
        assert!(is_there.iter().any(|form| text.contains(form.as_str())), "config/gateway.toml has no `{key}`");
    }
}

/// Only the lines of the keys that must be there or have no default to show, and the headers.
fn without_defaults(text: &str) -> String {
    let needed = ["[", "address", "targets", "path", "service", "strip_prefix", "protocols"];
    text.lines()
        .filter(|line| needed.iter().any(|start| line.starts_with(start)))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn tests_can_change_what_a_file_says() {
    let mut config = parse(&fs::read_to_string(&files_in("config/examples")[0]).unwrap());
    let name = config.services[0].name.get_ref().clone();
    let target = SocketAddr::from(([127, 0, 0, 1], 4567));
    assert!(config.set_target(&name, target));
    assert!(!config.set_target("nobody", target));
    config.use_free_ports();
    config.gateway.workers = 2;
    let snapshot = Snapshot::compile(&config).unwrap();
    assert_eq!(snapshot.services[0].targets[0].address.to_string(), target.to_string());
    assert!(snapshot.listeners.iter().all(|listener| listener.address.port() == 0));
    assert_eq!(snapshot.admin.unwrap().address.to_string(), "127.0.0.1:0");
    assert_eq!(snapshot.gateway.workers, 2);
}

#[test]
fn a_file_that_cannot_be_read() {
    let faults = Config::load(Path::new("/nowhere/gateway.toml")).unwrap_err();
    assert!(faults.render(false).starts_with("Error: /nowhere/gateway.toml: cannot read the file: No such file"));
}

#[test]
fn a_file_that_is_not_utf8() {
    let path = std::env::temp_dir().join(format!("tidegate-not-utf8-{}.toml", std::process::id()));
    fs::write(&path, b"[gateway]\nworkers = \xff\n").unwrap();
    let faults = Config::load(&path).unwrap_err();
    fs::remove_file(&path).unwrap();
    assert_eq!(faults.compact(), format!("{}:2:11: the file is not UTF-8; save the file as UTF-8", path.display()));
}

#[test]
fn line_ends_and_marks_of_windows_do_not_move_the_caret() {
    let text = "\u{feff}[gateway]\r\n# Grüße\r\ndriver = \"é\"\r\nworkers = \"x\"\r\n[listeners.a]\r\naddress = \"127.0.0.1:1\"\r\n";
    let faults = Config::parse("w.toml", text).unwrap_err();
    assert!(faults.compact().starts_with("w.toml:3:10: "), "{faults}");
    assert!(faults.compact().contains("\nw.toml:4:11: "), "{faults}");
    assert!(faults.render(false).contains(" 4 | workers = \"x\"\n   |           ^|^\n"), "{}", faults.render(false));
}

#[test]
fn ten_thousand_routes_and_as_many_faults() {
    let mut text =
        String::from("[listeners.a]\naddress = \"127.0.0.1:1\"\n[services.s]\ntargets = [\"127.0.0.1:2\"]\n");
    for i in 0..10_000 {
        text += &format!("[routes.r{i}]\npath = \"/r{i}/*\"\nservice = \"s\"\n");
    }
    let snapshot = Snapshot::compile(&parse(&text)).unwrap();
    assert_eq!(&*snapshot.routes[9999].path, "/r9999/*");
    let faults = Config::parse("test.toml", &text.replace("\"s\"", "\"t\"")).unwrap_err();
    assert_eq!(faults.count(), 10_000);
    assert!(faults.render(false).contains("route `r9999` goes to"));
    assert!(faults.compact().ends_with("use one of: s"));
}

#[test]
fn colour_is_only_there_when_asked_for() {
    let faults = Config::parse("test.toml", "a = 1").unwrap_err();
    assert!(faults.render(true).contains('\u{1b}'));
    assert!(!faults.render(false).contains('\u{1b}'));
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_configuration_or_faults(text in "([\\[\\]{}=\",\n a]|listeners|services\\.x|routes|path|limits|é){0,24}") {
        if let Err(faults) = Config::parse("test.toml", &text) {
            proptest::prop_assert!(!faults.render(false).is_empty() && faults.iter().count() > 0);
        }
    }
}
