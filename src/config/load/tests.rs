//! Files that include one another and strings that stand for others, on real files.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::config::{Config, Diagnostics, Setting, Severity};

/// A directory with files, which is removed again.
struct Directory(PathBuf);

impl Directory {
    fn with(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-load-{}-{number}", std::process::id()));
        let directory = Self(path);
        for (name, text) in files {
            directory.write(name, text.as_bytes());
        }
        directory
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<Config, String> {
        let environment = Environment::of(variables.iter().copied());
        Config::load_in(&self.0.join("main.toml"), &environment).map_err(|faults| self.short(&faults))
    }

    /// The faults, with names as they are in this directory.
    fn short(&self, faults: &Diagnostics) -> String {
        faults.compact().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LISTENER: &str = "[listeners.public]\naddress = \"127.0.0.1:0\"\n";

fn main_file(include: &str) -> String {
    format!("include = {include}\n{LISTENER}")
}

fn route(name: &str) -> String {
    format!("[routes.{name}]\npath = \"/{name}\"\nrespond = {{ body = \"{name}\" }}\n")
}

fn names(config: &Config) -> Vec<&str> {
    config.routes.iter().map(|route| route.name.get_ref().as_str()).collect()
}

#[test]
fn sections_are_gathered_from_all_files_in_the_order_of_their_names() {
    let directory = Directory::with(&[
        ("main.toml", &main_file("[\"routes/*.toml\", \"more/?/x.toml\", \"last.toml\"]")),
        ("routes/b.toml", &format!("include = [\"../deep.toml\"]\n{}", route("b"))),
        ("routes/a.toml", &route("a")),
        ("routes/.hidden.toml", &route("hidden")),
        ("routes/a.toml~", &route("old")),
        ("routes/directory.toml/x", ""),
        ("deep.toml", &route("deep")),
        ("more/1/x.toml", &route("one")),
        ("more/2/x.toml", &route("two")),
        ("more/2/y.toml", &route("none")),
        ("last.toml", &format!("include = [\"deep.toml\"]\n[defaults]\nretries = false\n{}", route("last"))),
    ]);
    let config = directory.load(&[]).unwrap();
    assert_eq!(names(&config), ["a", "b", "deep", "one", "two", "last"]);
    assert!(config.defaults.retries.is_some() && config.warnings.is_empty(), "{}", config.warnings());
    let places: Vec<(String, usize)> = config
        .routes
        .iter()
        .map(|route| config.source.place(route.name.span().start))
        .map(|place| (place.file.name().rsplit('/').next().unwrap().to_owned(), place.line))
        .collect();
    let expected = [("a.toml", 1), ("b.toml", 2), ("deep.toml", 1), ("x.toml", 1), ("x.toml", 1), ("last.toml", 4)];
    assert_eq!(places, expected.map(|(name, line)| (name.to_owned(), line)));
}

#[test]
fn what_is_wrong_is_shown_in_its_own_file() {
    let directory = Directory::with(&[
        ("main.toml", &main_file("[\"a.toml\", \"b.toml\"]")),
        ("a.toml", "[services.users]\ntargets = [\"127.0.0.1:1\"]\ntimeuot = \"5s\"\n"),
        ("b.toml", "# grüße\n[routes.x]\nservice = \"user\"\n[services.users]\n[admin]\n"),
    ]);
    let faults = directory.load(&[]).unwrap_err();
    assert_eq!(
        faults.lines().map(|line| line.split("; ").next().unwrap()).collect::<Vec<_>>(),
        [
            "a.toml:3:1: unknown key `timeuot` in [services.users]",
            "b.toml:3:11: route `x` goes to a service that is not there, `user`",
            "b.toml:4:11: `[services.users]` is there twice",
            "b.toml:5:1: [admin] has no `address`",
        ]
    );
    let whole = Config::load_in(&directory.0.join("main.toml"), &Environment::default()).unwrap_err();
    let shown = whole.render(false);
    assert!(shown.contains("a.toml:1:11") && shown.contains("b.toml:4:11"), "{shown}");
    assert_eq!(whole.to_json()[0]["place"]["file"], directory.0.join("a.toml").display().to_string());
}

#[test]
fn sections_without_names_stand_in_one_file() {
    let directory = Directory::with(&[
        ("main.toml", &format!("{}[gateway]\nworkers = 1\n", main_file("[\"a.toml\"]"))),
        ("a.toml", "[gateway]\nworkers = 2\n"),
    ]);
    let faults = directory.load(&[]).unwrap_err();
    assert!(faults.starts_with("a.toml:1:2: `[gateway]` is there twice; write it in one file"), "{faults}");
}

#[test]
fn what_cannot_be_included() {
    let routes = route("a");
    for (include, words) in [
        ("[\"none.toml\"]", "main.toml:1:12: cannot read `none.toml`: No such file"),
        ("[\"routes\"]", "cannot read `routes`: it is a directory; write \"routes/*.toml\""),
        ("[\"routes/\"]", "`routes/` is a directory; write \"routes/*.toml\""),
        ("[\"**/a.toml\"]", "has a `**`"),
        ("\"a.toml\"", "`include` cannot be a string; it must be a list"),
        ("[1]", "`include` cannot have a whole number"),
        ("[\"main.toml\"]", "`main.toml` includes itself: main.toml -> main.toml; remove one"),
        ("[\"*.toml\"]", "`main.toml` includes itself: main.toml -> main.toml; keep what is included in a directory"),
        ("[\"circle.toml\"]", "circle.toml:1:12: `main.toml` includes itself: main.toml -> circle.toml -> main.toml"),
        ("[\"broken.toml\"]", "broken.toml:1:3: this is not TOML"),
        ("[\"latin.toml\"]", "latin.toml:2:3: the file is not UTF-8"),
        ("[\"${WHERE}.toml\"]", "main.toml:1:13: the variable `WHERE` is not set"),
    ] {
        let directory = Directory::with(&[
            ("main.toml", &format!("{}[routes.r]\nservice = \"elsewhere\"\n", main_file(include))),
            ("routes/a.toml", &routes),
            ("circle.toml", "include = [\"main.toml\"]\n"),
            ("broken.toml", "[a\n"),
        ]);
        directory.write("latin.toml", b"\n# \xe9\n");
        let faults = directory.load(&[]).unwrap_err();
        assert!(faults.contains(words), "{include}: {faults}");
        assert!(!faults.contains("a service that is not there"), "what is missing may be there: {faults}");
    }
}

#[test]
fn a_pattern_that_finds_nothing_is_a_warning() {
    for include in ["[\"routes/*.toml\"]", "[\"none/*/x.toml\"]"] {
        let directory = Directory::with(&[("main.toml", &main_file(include)), ("routes/x", "")]);
        let config = directory.load(&[]).unwrap();
        let warnings = config.warnings().of(Severity::Warning);
        assert!(directory.short(&warnings).contains("main.toml:1:12: warning: `"), "{warnings}");
        let routes = directory.0.join("routes");
        assert_eq!(config.files().contains(&routes), include.contains("routes"), "{:?}", config.files());
    }
}

#[test]
fn strings_get_what_they_stand_for() {
    let text = format!(
        "{LISTENER}[services.s]\ntargets = [\"${{HOST}}:3001\", \"unix:${{file:../socket}}\"]\ntimeout = \"${{TIMEOUT:-7s}}\"\n\
         affinity = {{ cookie = \"c\", secret = \"${{file:secret}}\" }}\nfallback = {{ body = \"$${{HOST}} ${{FREE}}\" }}\n\
         [routes.r]\npath = \"~ ^/${{HOST}}$\"\nservice = \"s\"\n\
         request_headers = {{ set = {{ X-A = \"${{FREE}} ${{client.ip}}\" }} }}\n"
    );
    let directory = Directory::with(&[
        ("main.toml", "include = [\"sub/*.toml\"]\n"),
        ("sub/a.toml", &text),
        ("sub/secret", "  hush-hush\r\n"),
        ("socket", "/run/s.sock\n"),
    ]);
    let config = directory.load(&[("HOST", "10.0.0.1"), ("FREE", "${client.ip} $$"), ("TIMEOUT", "")]).unwrap();
    let service = &config.services[0];
    let targets: Vec<String> = service.targets.iter().map(|target| target.address.to_string()).collect();
    assert_eq!(targets, ["10.0.0.1:3001", "unix:/run/s.sock"]);
    assert_eq!(service.timeouts.total, Some(crate::base::units::Setting::On(std::time::Duration::from_secs(7))));
    assert_eq!(service.affinity.as_ref().unwrap().secret, Some(Secret::new("  hush-hush")));
    assert!(format!("{:?}", service.fallback).contains("${HOST} ${client.ip} $$"), "{:?}", service.fallback);
    assert_eq!(config.routes[0].matches.path.as_ref().unwrap().get_ref(), "~ ^/10.0.0.1$");
    let rules = format!("{:?}", config.routes[0].headers);
    assert!(rules.contains("Literal(\"${client.ip} $$ \"), ClientIp"), "{rules}");
    assert!(!format!("{config:?}").contains("hush"), "a secret is shown");

    let files: Vec<&str> = config.files().iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(files, ["main.toml", "sub", "a.toml", "secret", "socket"]);
}

#[test]
fn what_cannot_be_put_in_is_told_once_and_in_its_place() {
    let text = "[services.s]\ntargets = [\"${HOST}:3001\"]\ntimeout = \"${file:none}\"\nsend_timeout = \"\\u0035${T\"\n\
        first_byte_timeout = \"${ODD}\"\nconnect_timeout = \"${client.ip}\"\npool = { queue_timeout = \"${file:}\" }\n\
        between_bytes_timeout = \"${file:latin}\"\nslow_start = \"${file:main.toml/x}\"\n";
    let directory = Directory::with(&[("main.toml", &format!("{LISTENER}{text}"))]);
    directory.write("latin", b"\xe9");
    let faults = directory.load(&[("ODD", "soon")]).unwrap_err();
    for (line, words) in faults.lines().zip([
        "main.toml:4:13: the variable `HOST` is not set; set it where the gateway is started, or write a default: \
         `${HOST:-default}`",
        "main.toml:5:12: cannot read `none`: No such file or directory",
        "main.toml:6:23: `${T` has no end; close it with `}`",
        "main.toml:7:22: wrong value for `first_byte_timeout`: `soon` is not a duration",
        "main.toml:8:19: wrong value for `connect_timeout`: `${client.ip}` is known of a request, and",
        "main.toml:9:27: `${file:}` names no file",
        "main.toml:10:26: cannot read `latin`: it is not UTF-8",
        "main.toml:11:15: cannot read `main.toml/x`: Not a directory",
    ]) {
        assert!(line.starts_with(words), "{faults}");
    }
    assert_eq!(faults.lines().count(), 8, "{faults}");
}

#[test]
fn what_may_be_a_secret_is_not_in_errors() {
    let text = "[services.s]\ntargets = [\"${file:token}\"]\ntimeout = \"${API_TOKEN}\"\n";
    let directory = Directory::with(&[("main.toml", &format!("{LISTENER}{text}")), ("token", "hush\n")]);
    let faults = directory.load(&[("API_TOKEN", "psst")]).unwrap_err();
    assert!(faults.contains("`***` is not an address with a port") && faults.contains("`***` is not a duration"));
    assert!(!faults.contains("hush") && !faults.contains("psst"), "{faults}");
    // Nor is anything suggested that would be made of it.
    assert!(!faults.contains("***:3001") && !faults.contains("***s"), "{faults}");
}

#[test]
fn what_is_not_a_file_is_not_waited_for() {
    let directory = Directory::with(&[("main.toml", &main_file("[\"/dev/zero\"]"))]);
    let faults = directory.load(&[]).unwrap_err();
    assert!(faults.contains("cannot read `/dev/zero`: it is not a regular file"), "{faults}");
}

#[test]
fn a_text_without_a_file_has_none_to_watch() {
    let config = Config::parse_in("x.toml", LISTENER, &Environment::default()).unwrap();
    assert!(config.files().is_empty());
}

/// Reads bytes as a file, and what a user would see of what is wrong with them.
fn rendered(bytes: &[u8]) -> Option<String> {
    let environment = Environment::of([]);
    let mut loader = Loader::empty(SourceFile::new("main.toml", ""), &environment);
    loader.begin("main.toml".into(), bytes.to_vec(), Path::new(""));
    Config::decode(loader).err().map(|faults| faults.render(false))
}

#[test]
fn what_is_no_character_is_shown() {
    for bytes in [&b"# caf\xe9\n"[..], b"\xff\xfea\0=\x001\0", b"\xe2\x82", b"\xef\xbb\xbfa = \"\xff\"\r\n", b"\xff"] {
        let text = rendered(bytes).unwrap();
        assert!(text.contains("not UTF-8") && text.contains("this is not a character"), "{text}");
    }
    // The same in a file that another includes, whose places are moved.
    let directory = Directory::with(&[("main.toml", &main_file("[\"latin.toml\"]"))]);
    directory.write("latin.toml", b"# caf\xe9\n# more\n");
    let faults = Config::load_in(&directory.0.join("main.toml"), &Environment::of([])).unwrap_err();
    assert!(faults.render(false).contains("this is not a character"), "{}", faults.render(false));
    assert!(directory.short(&faults).contains("latin.toml:1:6"), "{}", directory.short(&faults));
}

proptest! {
    #[test]
    fn whatever_is_in_a_file_can_be_shown(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(rendered(&bytes).is_none_or(|text| !text.is_empty()));
    }

    #[test]
    fn a_byte_that_is_wrong_can_be_shown(
        place in 0..LISTENER.len(),
        bytes in prop::collection::vec(0x70..=0xff_u8, 1..4),
    ) {
        let mut file = LISTENER.as_bytes().to_vec();
        file.splice(place..place, bytes);
        prop_assert!(rendered(&file).is_none_or(|text| !text.is_empty()));
    }
}

#[test]
fn what_is_put_in_may_be_a_number_or_a_boolean() {
    let text = "[gateway]\nworkers = \"${WORKERS:-2}\"\nwatch = \"${WATCH}\"\ndrain_delay = \"${DELAY}\"\n\
                via = \"${WORKERS:-2}\"\n[listeners.public]\naddress = \"127.0.0.1:0\"\n[services.s]\n\
                targets = [{ address = \"127.0.0.1:1\", weight = \"${WEIGHT}0\" }]\nejection = \"${EJECTION}\"\n\
                [routes.r]\npath = \"/\"\nservice = \"s\"\naccess_log = { sample = { share = \"${SHARE}\" } }\n[access_log]\n";
    let variables = [("WATCH", "false"), ("DELAY", "false"), ("WEIGHT", "3"), ("EJECTION", "false"), ("SHARE", "0.25")];
    let config =
        Config::parse_in("a.toml", text, &Environment::of(variables)).unwrap_or_else(|faults| panic!("{faults}"));
    let gateway = &config.gateway;
    assert_eq!((gateway.workers, gateway.watch, gateway.drain_delay), (2, false, Setting::Off));
    let effective = config.effective();
    for line in ["workers = 2 ", "watch = false ", "weight = 30 ", "share = 0.25 ", "via = \"2\" "] {
        assert!(effective.contains(line), "{line} in {effective}");
    }
    let again = Config::parse("effective.toml", &effective).unwrap_or_else(|faults| panic!("{faults}\n{effective}"));
    assert_eq!(again.gateway.workers, 2);
    for (value, message, help) in [
        ("many", "`workers` cannot be a string", "it must be a whole number"),
        ("08", "`workers` cannot be a string", "it must be a whole number"),
        ("5000", "`5000` is too large", "it can be from 0 to 1024"),
        ("-1", "`-1` is negative", "write a whole number from 0"),
        ("2.5", "`workers` cannot be a decimal number", "it must be a whole number"),
    ] {
        let faults = Config::parse_in("a.toml", "[gateway]\nworkers = \"${N}\"\n", &Environment::of([("N", value)]));
        let faults = faults.unwrap_err().to_string();
        assert!(faults.contains(message) && faults.contains(help) && faults.contains("a.toml:2:11"), "{faults}");
    }
    // A boolean that is wrong was meant to be a string, and a secret is none of both.
    let text = "[services.s]\ntargets = [\"127.0.0.1:1\"]\n[routes.r]\npath = \"/\"\nservice = \"${S}\"\n\
                [gateway]\nworkers = \"${WORKERS_KEY}\"\n[listeners.l]\naddress = \"127.0.0.1:0\"\n";
    let faults = Config::parse_in("a.toml", text, &Environment::of([("S", "true"), ("WORKERS_KEY", "77777")]));
    let faults = faults.unwrap_err();
    let text = faults.render(false);
    assert!(text.contains("`${...}` stands for a string here") && !text.contains("77777"), "{text}");
    assert!(
        faults.compact().contains("a.toml:5:11: route `r` goes to a service that is not there, `true`"),
        "{}",
        faults.compact()
    );
}
