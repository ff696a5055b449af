//! The document of all that the admin listener can be asked, for people and programs: `/openapi.json` (OpenAPI 3.1).
//!
//! It is made from the list of endpoints, and the schemas from where the answers are made, so that neither can be
//! forgotten. Tests call every operation of it and hold each answer against its schema.

use serde_json::{Map, Value, json};

use super::access::is_open;
use super::answer::Answer;
use super::endpoints::{ENDPOINTS, Endpoint, Method, Shape};
use super::{Answered, Asked, Views, config, process, routes, schema, targets, upstreams, workers};

pub(super) fn document(views: &Views, _: &Asked) -> Answered {
    let has_token = views.snapshot().admin.as_ref().is_some_and(|admin| admin.token.is_some());
    Ok(Answer::json(&describe(has_token)))
}

/// The document of a listener that asks for a token or not.
fn describe(has_token: bool) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        let method = match endpoint.method {
            Method::Get => "get",
            Method::Post => "post",
            Method::Put => "put",
        };
        item[method] = operation(endpoint, has_token);
    }
    let schemas = [
        process::schemas(),
        routes::schemas(),
        upstreams::schemas(),
        config::schemas(),
        workers::schemas(),
        targets::schemas(),
        vec![("Problem", problem())],
    ];
    let schemas: Map<String, Value> =
        schemas.into_iter().flatten().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let scheme = json!({ "type": "http", "scheme": "bearer", "description": "`token` of [admin]" });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate's admin listener",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What operators ask of the gateway, and tell it to do.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": { "token": scheme } },
    })
}

fn operation(endpoint: &Endpoint, has_token: bool) -> Value {
    let of_path = endpoint.parameters().map(
        |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }),
    );
    let of_query = endpoint.query.iter().map(|number| {
        json!({
            "name": number.name,
            "in": "query",
            "description": number.meaning,
            "schema": { "type": "integer", "minimum": 0, "maximum": number.most, "default": number.default },
        })
    });
    let parameters: Vec<Value> = of_path.chain(of_query).collect();
    let needs_token = has_token && !is_open(endpoint.path);
    let mut operation = json!({
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": responses(endpoint, needs_token),
        "security": if needs_token { json!([{ "token": [] }]) } else { json!([]) },
    });
    if let Some(name) = endpoint.body {
        let content = json!({ "application/json": { "schema": schema::refer(name) } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

/// What can come back: what the endpoint says, and what comes before it is asked.
fn responses(endpoint: &Endpoint, needs_token: bool) -> Value {
    let mut all = vec![
        (400, Shape::Problem, "the request is malformed"),
        (421, Shape::Problem, "the listener is not asked by this name"),
    ];
    all.extend(needs_token.then_some((401, Shape::Problem, "the token is missing or wrong")));
    all.extend((endpoint.method != Method::Get).then_some((403, Shape::Problem, "it comes from a web page")));
    if endpoint.body.is_some() {
        all.extend([
            (408, Shape::Problem, "the body did not come in time"),
            (413, Shape::Problem, "the body is too large"),
            (415, Shape::Problem, "the body is no JSON by its Content-Type"),
        ]);
    }
    all.extend(endpoint.answers);
    let mut answers = Map::new();
    for (status, shape, when) in all {
        let (kind, schema) = match shape {
            Shape::Json(name) => ("application/json", schema::refer(name)),
            Shape::Any => ("application/json", json!({ "type": "object" })),
            Shape::Text(kind) => (kind, json!({ "type": "string" })),
            Shape::Problem => ("application/problem+json", schema::refer("Problem")),
        };
        // One status can have a content of several kinds.
        let answer = answers.entry(status.to_string());
        let answer = answer.or_insert_with(|| json!({ "description": when, "content": {} }));
        answer["content"][kind] = json!({ "schema": schema });
    }
    Value::Object(answers)
}

/// Problem details (RFC 9457), with our members. Those of a reload have `errors` besides.
fn problem() -> Value {
    let error = json!({ "type": "object", "required": ["message"], "properties": { "message": schema::text("what is wrong") } });
    json!({
        "type": "object",
        "properties": {
            "type": { "type": "string", "const": "about:blank" },
            "title": schema::text("the status in words"),
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "code": { "type": "string", "pattern": "^[a-z_]+$", "description": "a stable name" },
            "detail": schema::text("what is wrong, and what to do"),
            "errors": schema::list(error),
        },
        "required": ["type", "title", "status", "code", "detail"],
        "additionalProperties": false,
    })
}
