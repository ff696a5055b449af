//! What somebody asks about, as the head of a request.

use super::Question;
use crate::base::decode::closest;
use crate::config::Config;

/// A request as it would be received.
pub(super) struct Request {
    /// Its head, whole.
    pub(super) head: String,
    /// The target in it.
    pub(super) target: String,
    /// The place of the listener that it comes by.
    pub(super) listener: usize,
    /// `http` or `https`.
    pub(super) scheme: String,
}

/// Puts the request together.
///
/// # Errors
/// Why nobody could send such a request.
pub(super) fn read(config: &Config, question: &Question) -> Result<Request, String> {
    let url = question.url.split('#').next().unwrap_or_default();
    let (scheme, authority, target) = match url.split_once("://") {
        Some((scheme, rest)) if ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, target) = rest.split_at(end);
            (scheme.to_ascii_lowercase(), Some(authority), target)
        }
        Some((scheme, _)) => return Err(format!("`{scheme}` is not a scheme of HTTP; write http:// or https://")),
        None if url.starts_with('/') || url == "*" => ("http".to_owned(), None, url),
        None => return Err(format!("`{url}` is neither a URL nor a path; write http://{url} or /{url}")),
    };
    // What a client does with a URL that has no path.
    let target = if target.starts_with('/') || target == "*" { target.to_owned() } else { format!("/{target}") };
    let authority = authority.map(|authority| authority.rsplit('@').next().unwrap_or(authority));
    let mut host = authority.map(str::to_owned);
    let mut fields = String::new();
    for field in &question.fields {
        let (Some((name, value)), false) = (field.split_once(':'), field.contains(['\r', '\n'])) else {
            return Err(format!("`{}` is not a field; write 'name: value'", field.escape_debug()));
        };
        match name.eq_ignore_ascii_case("host") {
            true => host = Some(value.trim().to_owned()),
            false => fields += &format!("{name}: {}\r\n", value.trim()),
        }
    }
    let listener = listener(config, question.listener.as_deref(), authority)?;
    let head = match &host {
        Some(host) => format!("{} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n", question.method),
        None => format!("{} {target} HTTP/1.0\r\n{fields}\r\n", question.method),
    };
    Ok(Request { head, target, listener, scheme })
}

/// The place of the listener that is named, or has the port of the URL, or else the first.
fn listener(config: &Config, name: Option<&str>, authority: Option<&str>) -> Result<usize, String> {
    let names: Vec<&str> = config.listeners.iter().map(|listener| listener.name.get_ref().as_str()).collect();
    if let Some(name) = name {
        return names.iter().position(|known| *known == name).ok_or_else(|| match closest(name, &names) {
            Some(meant) => format!("there is no listener `{name}`; did you mean `{meant}`?"),
            None => format!("there is no listener `{name}`; there is only: {}", names.join(", ")),
        });
    }
    let port =
        authority.and_then(|authority| authority.rsplit_once(':')).and_then(|(_, port)| port.parse::<u16>().ok());
    let has_port = |port: u16| config.listeners.iter().position(|one| one.address.get_ref().port() == port);
    Ok(port.and_then(has_port).unwrap_or(0))
}
