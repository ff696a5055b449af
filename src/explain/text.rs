//! An explanation for people.

use std::fmt::{self, Write};

use super::{Does, Explanation, Near, Outcome, Policies, Taken};
use crate::base::secret::MASK;

/// So many routes that came close are shown.
const NEAR_MOST: usize = 20;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = &self.request;
        let query = request.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let host = request.host.as_ref().map_or_else(|| "no host".to_owned(), |host| format!("host {host}"));
        writeln!(f, "{} {}{query}, {host}, listener {}\n", request.method, request.path, request.listener)?;
        match &self.outcome {
            Outcome::Taken(taken) => self.write_taken(f, taken)?,
            Outcome::MethodNotAllowed { allow } => {
                writeln!(f, "refused with 405: no route takes this method here\n  Allow: {allow}")?;
            }
            Outcome::NoRoute => writeln!(f, "refused with 404: no route takes this")?,
            Outcome::Refused { status, detail, help } => {
                writeln!(f, "refused with {status}: {detail}")?;
                help.iter().try_for_each(|help| writeln!(f, "  {help}"))?;
            }
        }
        write_near(f, "Routes for this host and path, in the order of precedence:", &self.candidates)?;
        write_near(f, "Routes for nearly the same:", &self.elsewhere)?;
        if let Outcome::Taken(taken) = &self.outcome {
            taken.policies.iter().try_for_each(|policies| write_policies(f, policies))?;
        }
        Ok(())
    }
}

impl Explanation {
    fn write_taken(&self, f: &mut fmt::Formatter<'_>, taken: &Taken) -> fmt::Result {
        writeln!(f, "route `{}` takes it ({})", taken.route, taken.place)?;
        for (name, value) in &taken.captures {
            writeln!(f, "  {name} = {value}")?;
        }
        match &taken.does {
            Does::Sends { target, services } => {
                let service = |(name, share): &(String, String)| match services.len() {
                    1 => format!("`{name}`"),
                    _ => format!("`{name}` ({share})"),
                };
                let all: Vec<String> = services.iter().map(service).collect();
                writeln!(f, "  sent on to service {} as {target}", all.join(", "))?;
            }
            Does::Redirects { status, location } => writeln!(f, "  answered with {status}, Location: {location}")?,
            Does::Answers { status, body } if body == MASK => {
                writeln!(f, "  answered with {status}, and a body that may be a secret")?
            }
            Does::Answers { status, body } => {
                writeln!(f, "  answered with {status} and a body of {} bytes", body.len())?
            }
        }
        taken.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}

fn write_near(f: &mut fmt::Formatter<'_>, title: &str, near: &[Near]) -> fmt::Result {
    if near.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    let width = near.iter().take(NEAR_MOST).map(|near| near.route.chars().count()).max().unwrap_or(0);
    for near in near.iter().take(NEAR_MOST) {
        writeln!(f, "  {:width$}  {} ({})", near.route, near.reason, near.place)?;
    }
    match near.len().saturating_sub(NEAR_MOST) {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}

fn write_policies(f: &mut fmt::Formatter<'_>, policies: &Policies) -> fmt::Result {
    match &policies.service {
        Some(service) => writeln!(f, "\nWhat holds with service `{service}`:")?,
        None => writeln!(f, "\nWhat holds:")?,
    }
    let line = |row: &crate::config::effective::Row| {
        let key = row.path[2..].join(".");
        let mut line = String::new();
        // A string takes everything.
        let _ = write!(line, "  {key} = {}", row.value);
        (line, row.source.to_string())
    };
    let lines: Vec<(String, String)> = policies.rows.iter().map(line).collect();
    for (line, source) in lines {
        writeln!(f, "{line:<44}  # {source}")?;
    }
    Ok(())
}
