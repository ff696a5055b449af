//! An explanation for programs.

use serde_json::{Value, json};

use super::{Does, Explanation, Near, Outcome, Policies, Taken};

impl Explanation {
    /// The explanation as an object: `request` as it was understood; `outcome`, one of `taken`, `method_not_allowed`,
    /// `no_route` and `refused`, with the `status` of the answer where there is one from here; `route`, which is null
    /// where none takes it; and `candidates` and `elsewhere`, lists of routes that came close.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (outcome, status, route) = match &self.outcome {
            Outcome::Taken(taken) => ("taken", status(&taken.does), route(taken)),
            Outcome::MethodNotAllowed { .. } => ("method_not_allowed", Some(405), Value::Null),
            Outcome::NoRoute => ("no_route", Some(404), Value::Null),
            Outcome::Refused { status, .. } => ("refused", Some(*status), Value::Null),
        };
        let (allow, detail) = match &self.outcome {
            Outcome::MethodNotAllowed { allow } => (Some(allow), None),
            Outcome::Refused { detail, .. } => (None, Some(detail)),
            _ => (None, None),
        };
        json!({
            "request": {
                "method": self.request.method,
                "host": self.request.host,
                "path": self.request.path,
                "query": self.request.query,
                "listener": self.request.listener,
            },
            "outcome": outcome,
            "status": status,
            "allow": allow,
            "detail": detail,
            "route": route,
            "candidates": near(&self.candidates),
            "elsewhere": near(&self.elsewhere),
        })
    }
}

fn status(does: &Does) -> Option<u16> {
    match does {
        Does::Sends { .. } => None,
        Does::Redirects { status, .. } | Does::Answers { status, .. } => Some(*status),
    }
}

fn route(taken: &Taken) -> Value {
    let captures: serde_json::Map<String, Value> =
        taken.captures.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let mut route = json!({
        "name": taken.route,
        "place": taken.place,
        "captures": captures,
        "notes": taken.notes,
        "policies": taken.policies.iter().map(policies).collect::<Vec<_>>(),
    });
    match &taken.does {
        Does::Sends { target, services } => {
            let service = |(name, share): &(String, String)| json!({ "name": name, "share": share });
            route["target"] = target.as_str().into();
            route["services"] = services.iter().map(service).collect();
        }
        Does::Redirects { location, .. } => route["location"] = location.as_str().into(),
        Does::Answers { body, .. } => route["body"] = body.as_str().into(),
    }
    route
}

fn policies(policies: &Policies) -> Value {
    let row = |row: &crate::config::effective::Row| json!({ "key": row.path.join("."), "value": row.value, "source": row.source.to_string() });
    json!({ "service": policies.service, "keys": policies.rows.iter().map(row).collect::<Vec<_>>() })
}

fn near(near: &[Near]) -> Vec<Value> {
    let one = |near: &Near| json!({ "route": near.route, "place": near.place, "reason": near.reason });
    near.iter().map(one).collect()
}
