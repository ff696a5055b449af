//! Session affinity: a cookie keeps a client at the target that has answered it first.
//!
//! ```toml
//! [services.shop]
//! targets = ["127.0.0.1:3001", "127.0.0.1:3002"]
//! affinity = { cookie = "backend", max_age = "1h" }
//!
//! # every key:
//! # cookie       required: the name
//! # max_age      how long the client keeps it; without this key, until the browser is closed
//! # path         "/": for which paths of the site
//! # secure       false: true for a site that is only reached by HTTPS
//! # http_only    true: scripts do not see it
//! # same_site    "lax": or "strict", or "none" (which needs secure = true)
//! # secret       any text; see below
//! ```
//!
//! The value is a hash of the target's address in 16 hexadecimal digits, so all gateways understand each other's cookies
//! and nothing has to be remembered. The hash is keyed with `secret`. Without one it is keyed with the service's name,
//! which hides the address from the eye, but not from somebody who tries all addresses of a network: who minds that
//! writes a secret.
//!
//! A cookie that names no target that is in use, because that is down, ejected or gone, is replaced by the next response;
//! the request goes where the method of the service sends it. A target that is in use and cannot take one request, because
//! it has all the connections that it may have or has just failed, keeps its clients: the request goes to another one,
//! and the cookie stays. So a dead target is asked first by its clients until `ejection` or `health` finds it out: a service
//! with neither should have no affinity.

use std::time::Duration;

use super::hash::keyed_hash;
use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong, text};
use crate::base::secret::Secret;
use crate::base::units::Setting;
use crate::net::Address;

/// `[services.NAME] affinity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffinityConfig {
    /// `cookie`: its name.
    pub cookie: Box<str>,
    /// `max_age`: how long clients keep it; `None` for a session.
    pub max_age: Option<Duration>,
    /// `path`: where clients send it.
    pub path: Box<str>,
    /// `secure`: only by HTTPS.
    pub secure: bool,
    /// `http_only`: not for scripts.
    pub http_only: bool,
    /// `same_site`: with which requests from other sites.
    pub same_site: SameSite,
    /// `secret`: what the value is keyed with.
    pub secret: Option<Secret>,
}

/// What the values of cookies are keyed with: a secret that is not too short.
struct Key(Secret);

/// With which requests from other sites a cookie is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// `"strict"`: none.
    Strict,
    /// `"lax"`: those that follow a link.
    Lax,
    /// `"none"`: all.
    None,
}

/// What stands for a target in a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u64);

/// Bytes of a [`Token`] in a cookie.
const TOKEN_LENGTH: usize = 16;

/// The cookie of a service, as it runs.
#[derive(Clone, PartialEq, Eq)]
pub struct Affinity {
    cookie: Box<str>,
    /// What follows the value in Set-Cookie.
    attributes: Box<str>,
    key: [u64; 2],
}

impl std::fmt::Debug for Affinity {
    /// Without the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Affinity");
        debug.field("cookie", &self.cookie).field("attributes", &self.attributes).finish_non_exhaustive()
    }
}

impl AffinityConfig {
    /// Reads `affinity` of a service.
    pub fn read(section: &mut Section<'_, '_>) -> Option<AffinityConfig> {
        let Setting::On(mut section) = section.table_or_off("affinity", "`affinity`")? else { return None };
        let cookie = section.require("cookie", "\"backend\"", cookie_name);
        let (mut max_age, mut path, mut secure, mut http_only) = (None, CookiePath("/".into()), false, true);
        let (mut same_site, mut secret) = (SameSite::Lax, None);
        section.inherit("max_age", &mut max_age);
        section.read("path", &mut path);
        section.read("secure", &mut secure);
        section.read("http_only", &mut http_only);
        section.read("same_site", &mut same_site);
        section.inherit("secret", &mut secret);
        let secret = secret.map(|Key(secret)| secret);
        section.finish(&[]);
        if same_site == SameSite::None
            && !secure
            && let Some(place) = section.place("same_site")
        {
            let message = "browsers refuse a cookie with `same_site = \"none\"` that is not `secure`";
            section.fault(Diagnostic::new(place, message, "this needs HTTPS").help("add secure = true"));
        }
        let CookieAge(max_age) = max_age.unwrap_or(CookieAge(None));
        Some(AffinityConfig { cookie: cookie?, max_age, path: path.0, secure, http_only, same_site, secret })
    }

    /// What runs for the service called `service`.
    #[must_use]
    pub fn compile(&self, service: &str) -> Affinity {
        let mut attributes = format!("; Path={}", self.path);
        if let Some(age) = self.max_age {
            attributes += &format!("; Max-Age={}", age.as_secs());
        }
        for (is_on, attribute) in [(self.secure, "; Secure"), (self.http_only, "; HttpOnly")] {
            attributes += if is_on { attribute } else { "" };
        }
        attributes += match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        };
        let secret = self.secret.as_ref().map_or(service, Secret::expose).as_bytes();
        let key = [keyed_hash([0, 1], secret), keyed_hash([0, 2], secret)];
        Affinity { cookie: self.cookie.clone(), attributes: attributes.into(), key }
    }
}

impl Affinity {
    /// What stands for the target at `address`.
    #[must_use]
    pub fn token(&self, address: &Address) -> Token {
        Token(keyed_hash(self.key, address.to_string().as_bytes()))
    }

    /// What the cookie is called.
    #[must_use]
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The target that the client asks for in a Cookie field with this value. Of several cookies with the name, the
    /// first counts: clients send the one for the longest path first (RFC 6265 section 5.4).
    #[must_use]
    pub fn read(&self, field: &[u8]) -> Option<Token> {
        let mut pairs = field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let value = pairs.find_map(|pair| pair.strip_prefix(self.cookie.as_bytes())?.strip_prefix(b"="))?;
        if value.len() != TOKEN_LENGTH {
            return None;
        }
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        value.iter().try_fold(0, |number, byte| Some(number << 4 | u64::from(digit(byte)?))).map(Token)
    }

    /// Appends the value of a Set-Cookie field that names `token`.
    pub fn write(&self, token: Token, out: &mut Vec<u8>) {
        out.extend_from_slice(self.cookie.as_bytes());
        out.push(b'=');
        for place in (0..TOKEN_LENGTH).rev() {
            out.push(b"0123456789abcdef"[(token.0 >> (place * 4) & 15) as usize]);
        }
        out.extend_from_slice(self.attributes.as_bytes());
    }
}

/// The name of a cookie is a token (RFC 6265 section 4.1.1).
fn cookie_name(value: &Value<'_>) -> Result<Box<str>, Wrong> {
    let text = text(value, "the name of a cookie")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match (1..=128).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.into()),
        false => {
            let problem = format!("`{}` cannot be the name of a cookie", text.escape_debug());
            Err(Wrong::content(problem, "a name is made of letters, digits, `-`, `_` and other characters of a token"))
        }
    }
}

/// `None` is not written.
struct CookieAge(Option<Duration>);

impl FromValue for CookieAge {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let age = Duration::from_value(value)?;
        match age.subsec_nanos() {
            0 => Ok(Self(Some(age))),
            _ => Err(Wrong::content("a cookie's age is in whole seconds", "write a duration such as \"1h\"")),
        }
    }
}

struct CookiePath(Box<str>);

impl FromValue for CookiePath {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "a path such as \"/\"")?;
        if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
            return Ok(Self(text.into()));
        }
        let problem = format!("`{}` cannot be the path of a cookie", text.escape_debug());
        Err(Wrong::content(problem, "it begins with a slash and has neither blanks nor semicolons, such as \"/\""))
    }
}

impl FromValue for Key {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        match Secret::from_value(value)? {
            short if short.expose().len() < 8 => {
                Err(Wrong::content("a secret of less than 8 characters can be guessed", "write a longer one"))
            }
            secret => Ok(Self(secret)),
        }
    }
}

impl FromValue for SameSite {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let expected = "\"strict\", \"lax\" or \"none\"";
        match text(value, expected)? {
            "strict" => Ok(Self::Strict),
            "lax" => Ok(Self::Lax),
            "none" => Ok(Self::None),
            other => Err(Wrong::content(format!("`{other}` is no value of SameSite"), format!("write {expected}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn config() -> AffinityConfig {
        AffinityConfig {
            cookie: "backend".into(),
            max_age: None,
            path: "/".into(),
            secure: false,
            http_only: true,
            same_site: SameSite::Lax,
            secret: None,
        }
    }

    fn address(port: u16) -> Address {
        SocketAddr::from(([10, 0, 0, 1], port)).into()
    }

    fn written(affinity: &Affinity, token: Token) -> String {
        let mut out = Vec::new();
        affinity.write(token, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let affinity = config().compile("shop");
        for port in 1..2000 {
            let token = affinity.token(&address(port));
            let field = written(&affinity, token);
            let (pair, attributes) = field.split_once(';').unwrap();
            assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax");
            assert_eq!(pair.len(), "backend=".len() + TOKEN_LENGTH);
            assert_eq!(affinity.read(format!("a=b; {pair}; c=d").as_bytes()), Some(token));
        }
        let small = Token(0x0b);
        assert!(written(&affinity, small).starts_with("backend=000000000000000b;"));
    }

    #[test]
    fn every_attribute() {
        let all = AffinityConfig {
            max_age: Some(Duration::from_secs(3600)),
            path: "/shop".into(),
            secure: true,
            http_only: false,
            same_site: SameSite::None,
            ..config()
        };
        let affinity = all.compile("shop");
        let field = written(&affinity, affinity.token(&address(1)));
        assert!(field.ends_with("; Path=/shop; Max-Age=3600; Secure; SameSite=None"), "{field}");
        let strict = AffinityConfig { same_site: SameSite::Strict, ..config() }.compile("shop");
        assert!(written(&strict, Token(0)).ends_with("; SameSite=Strict"));
    }

    #[test]
    fn what_clients_send() {
        let affinity = config().compile("shop");
        let token = |number| Some(Token(number));
        for (field, expected) in [
            ("backend=00000000000000ff", token(255)),
            ("backend=ffffffffffffffff", token(u64::MAX)),
            ("a=b;backend=00000000000000ff", token(255)),
            ("a=b;  backend=00000000000000ff ;", token(255)),
            ("backend=00000000000000ff; backend=0000000000000001", token(255)),
            // The first counts, also when it is no token.
            ("backend=; backend=0000000000000001", None),
            ("backend=00000000000000FF", None),
            ("backend=0000000000000ff", None),
            ("backend=00000000000000fff", None),
            ("backend=+0000000000000ff", None),
            ("backend = 00000000000000ff", None),
            ("xbackend=00000000000000ff", None),
            ("backend2=00000000000000ff", None),
            ("Backend=00000000000000ff", None),
            ("backend", None),
            ("", None),
        ] {
            assert_eq!(affinity.read(field.as_bytes()), expected, "{field}");
        }
    }

    #[test]
    fn tokens_differ_by_target_secret_and_service_and_by_nothing_else() {
        let secret = |secret: &str| AffinityConfig { secret: Some(Secret::new(secret)), ..config() };
        let of = |config: AffinityConfig, service: &str, port| config.compile(service).token(&address(port));
        assert_eq!(of(config(), "shop", 1), of(AffinityConfig { path: "/x".into(), ..config() }, "shop", 1));
        assert_eq!(of(secret("a"), "shop", 1), of(secret("a"), "other", 1));
        let all = [
            of(config(), "shop", 1),
            of(config(), "shop", 2),
            of(config(), "other", 1),
            of(secret("a"), "shop", 1),
            of(secret("b"), "shop", 1),
        ];
        for (index, token) in all.iter().enumerate() {
            assert!(!all[..index].contains(token));
        }
        assert!(!format!("{:?}", secret("hush")).contains("hush"));
        assert!(!format!("{:?}", secret("hush").compile("shop")).contains("key"));
    }
}
