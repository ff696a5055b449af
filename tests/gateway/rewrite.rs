//! `config/examples/rewrite.toml`: the paths of the services are not those that clients see.

use crate::harness::{Driver, Gateway, Origin};

#[test]
fn what_was_captured_is_sent_on() {
    let names = ["people", "search", "files"];
    let origins = names.map(Origin::named);
    let mut boot = Gateway::from(include_str!("../../config/examples/rewrite.toml")).driver(Driver::Epoll);
    for (name, origin) in names.iter().zip(&origins) {
        boot = boot.service(name, origin.address());
    }
    let gateway = boot.start();
    for (path, expected) in [
        ("/users/7/orders?x=/a", "people /v2/people/7/orders?x=/a"),
        ("/users/7", "people /v2/people/7"),
        ("/users/a%2f..%41%c3%a9/", "people /v2/people/a%2F..A%C3%A9/"),
        ("/users/x/../7", "people /v2/people/7"),
        ("/find", "search /search.php"),
        ("/find/a/b?q=1", "search /search.php?q=1"),
        ("/f-photos/2019/cat", "files /buckets/photos/2019/cat.bin"),
    ] {
        assert_eq!(gateway.get(path).text(), expected, "{path}");
    }
    for (path, code) in [("/f-photos/", "no_route"), ("/users/", "no_route"), ("/users/..%2f7/x", "bad_path")] {
        assert_eq!(gateway.get(path).code(), code, "{path}");
    }
}
