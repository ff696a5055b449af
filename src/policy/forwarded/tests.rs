//! Whom a request comes from and what is told of it, case by case.

use super::*;
use crate::http::edit::Name;
use crate::http::fields::NewField;
use crate::http::h1::encode::OwnFields;
use crate::http::h1::parse::HeadLimits;
use proptest::prelude::*;
use std::net::IpAddr;

fn parse_head(lines: &str) -> RequestHead {
    let mut head = RequestHead::default();
    let input = format!("GET / HTTP/1.1\r\nHost: a.example:8080\r\n{lines}\r\n");
    head.parse(input.as_bytes(), &HeadLimits::default()).unwrap();
    head
}

fn forwarding(trusted: &[&str], style: Style) -> Forwarding {
    Forwarding { trusted: Trusted::new(trusted.iter().map(|text| text.parse().unwrap())), style }
}

fn peer(text: &str) -> ClientAddress {
    ClientAddress::new(text.parse().unwrap(), Some(50_000))
}

const PROXIES: &[&str] = &["10.0.0.0/8", "2001:db8:1::/48"];

#[test]
fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
    for (from, lines, client) in [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "X-Forwarded-For: 6.6.6.6\r\n", "192.0.2.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        ("10.0.0.1", "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.2\r\n", "192.0.2.1"),
        ("10.0.0.1", "X-Forwarded-For: 6.6.6.6\r\nX: y\r\nx-forwarded-for: 192.0.2.1,10.0.0.2 , ,\r\n", "192.0.2.1"),
        ("10.0.0.1", "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3"),
        // What cannot be read ends the walk where it stands.
        ("10.0.0.1", "X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2\r\n", "10.0.0.2"),
        ("10.0.0.1", "X-Forwarded-For: 6.6.6.6, _hidden\r\n", "10.0.0.1"),
        ("10.0.0.1", "X-Forwarded-For:\r\nForwarded: for=6.6.6.6\r\n", "10.0.0.1"),
        // With ports, in brackets, of IPv6, and of IPv4 in the dress of IPv6.
        ("10.0.0.1", "X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1"),
        ("2001:db8:1::9", "X-Forwarded-For: [2001:db8::7]:443, 2001:db8:1::8\r\n", "2001:db8::7"),
        ("10.0.0.1", "X-Forwarded-For: [2001:db8::7]\r\n", "2001:db8::7"),
        ("::ffff:10.0.0.1", "X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1"),
        ("10.0.0.1", "X-Forwarded-For: fe80::1%eth0\r\n", "10.0.0.1"),
        ("10.0.0.1", "X-Forwarded-For: 192.0.2.01\r\n", "10.0.0.1"),
        // Forwarded, where there is no X-Forwarded-For.
        ("10.0.0.1", "Forwarded: for=192.0.2.1;proto=https;by=_x\r\n", "192.0.2.1"),
        ("10.0.0.1", "Forwarded: for=6.6.6.6, For=\"[2001:db8::7]:4711\" ; host=a, for=10.0.0.2\r\n", "2001:db8::7"),
        ("10.0.0.1", "Forwarded: for=6.6.6.6\r\nforwarded: for=192.0.2.1\r\n", "192.0.2.1"),
        ("10.0.0.1", "Forwarded: for=6.6.6.6, for=unknown\r\n", "10.0.0.1"),
        ("10.0.0.1", "Forwarded: for=6.6.6.6, proto=https\r\n", "10.0.0.1"),
        ("10.0.0.1", "Forwarded: by=\"a, for=6.6.6.6\", for=10.0.0.2\r\n", "10.0.0.2"),
        ("10.0.0.1", "Forwarded: for=6.6.6.6;for=192.0.2.1\r\n", "10.0.0.1"),
        ("10.0.0.1", "Forwarded: for=\"192.0.2.\\1\"\r\n", "10.0.0.1"),
        ("10.0.0.1", "Forwarded: for\r\n", "10.0.0.1"),
        ("10.0.0.1", "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=6.6.6.6\r\n", "192.0.2.1"),
    ] {
        let origin = forwarding(PROXIES, Style::Both).origin(&peer(from), &parse_head(lines), false);
        assert_eq!(origin.client.as_str(), client, "{from}: {lines}");
        assert_eq!(origin.trusted, !from.starts_with("192."), "{from}");
    }
}

#[test]
fn a_walk_has_an_end() {
    let long = format!("X-Forwarded-For: 6.6.6.6, 10.9.9.9{}\r\n", ", 10.0.0.2".repeat(63));
    let origin = forwarding(PROXIES, Style::Both).origin(&peer("10.0.0.1"), &parse_head(&long), false);
    assert_eq!(origin.client.as_str(), "10.9.9.9", "the 64th");
}

#[test]
fn nobody_is_trusted_by_default_and_nobody_unknown_ever() {
    let head = parse_head("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n");
    let origin = Forwarding::compile(&ForwardedConfig::default()).origin(&peer("127.0.0.1"), &head, false);
    assert!(!origin.trusted && origin.client.as_str() == "127.0.0.1" && origin.scheme() == "http");
    let all = forwarding(&["0.0.0.0/0", "::/0"], Style::XForwarded);
    let origin = all.origin(&ClientAddress::of_peer(None), &head, true);
    assert!(!origin.trusted && origin.client.as_str() == "unknown" && origin.scheme() == "https");
    assert_eq!((origin.client.ip(), origin.client.port()), (None, None));
}

/// The fields that a service is told in.
fn told(style: Style, from: &str, lines: &str) -> String {
    let head = parse_head(lines);
    told_of(style, &peer(from), &head)
}

fn told_of(style: Style, peer: &ClientAddress, head: &RequestHead) -> String {
    let forwarding = forwarding(PROXIES, style);
    let origin = forwarding.origin(peer, head, false);
    let told = Told { origin: &origin, peer, head, port: Some(8000), https: false };
    let mut buffer = b"before".to_vec();
    let composed = forwarding.compose(&told, &mut buffer);
    let mut fields = OwnFields::default();
    forwarding.tell(&told, &composed, &buffer, &mut fields);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let line = |(name, value): &NewField<'_>| format!("{}: {}\n", text(name.as_bytes()), text(value.as_bytes()));
    fields.as_slice().iter().map(line).collect()
}

#[test]
fn what_is_told_of_a_client() {
    let lines =
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\n";
    let x = "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.example:8080\n\
             X-Forwarded-Port: 8000\nX-Real-IP: 192.0.2.1\n";
    let forwarded = "Forwarded: for=192.0.2.1;host=\"a.example:8080\";proto=http\n";
    assert_eq!(told(Style::XForwarded, "192.0.2.1", lines), x);
    assert_eq!(told(Style::Rfc7239, "192.0.2.1", lines), forwarded);
    assert_eq!(told(Style::Both, "192.0.2.1", lines), format!("{x}{forwarded}"));
    assert_eq!(told(Style::None, "192.0.2.1", lines), "");
    let six = "Forwarded: for=\"[2001:db8::7]\";host=\"a.example:8080\";proto=http\n";
    assert_eq!(told(Style::Rfc7239, "2001:db8::7", ""), six);
    let mut bare = RequestHead::default();
    bare.parse(b"GET / HTTP/1.0\r\n\r\n", &HeadLimits::default()).unwrap();
    let nobody = ClientAddress::of_peer(None);
    assert_eq!(told_of(Style::Rfc7239, &nobody, &bare), "Forwarded: for=unknown;proto=http\n");
    let unknown = "X-Forwarded-For: unknown\nX-Forwarded-Proto: http\nX-Forwarded-Port: 8000\n";
    assert_eq!(told_of(Style::XForwarded, &nobody, &bare), unknown);
}

#[test]
fn what_is_told_of_a_trusted_proxy_s_client() {
    let x = |list: &str, proto: &str, host: &str, port: &str, real: &str| {
        format!(
            "X-Forwarded-For: {list}\nX-Forwarded-Proto: {proto}\nX-Forwarded-Host: {host}\nX-Forwarded-Port: {port}\n\
             X-Real-IP: {real}\n"
        )
    };
    let host = "a.example:8080";
    for (lines, expected) in [
        ("", x("10.0.0.1", "http", host, "8000", "10.0.0.1")),
        (
            "X-Forwarded-For: a, 192.0.2.1\r\nX-Forwarded-For: 10.0.0.2\r\n",
            x("a, 192.0.2.1, 10.0.0.2, 10.0.0.1", "http", host, "8000", "192.0.2.1"),
        ),
        (
            "X-Forwarded-Proto: HTTPS\r\nX-Forwarded-Host: b.example\r\nX-Forwarded-Port: 8443\r\n",
            x("10.0.0.1", "https", "b.example", "8443", "10.0.0.1"),
        ),
        // A port that goes with what is told, where none is.
        ("X-Forwarded-Proto: https\r\n", x("10.0.0.1", "https", host, "443", "10.0.0.1")),
        ("X-Forwarded-Proto: http\r\n", x("10.0.0.1", "http", host, "80", "10.0.0.1")),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: [::1]:9443\r\n",
            x("10.0.0.1", "https", "[::1]:9443", "9443", "10.0.0.1"),
        ),
        ("X-Forwarded-Host: [::1]\r\n", x("10.0.0.1", "http", "[::1]", "8000", "10.0.0.1")),
        // What is not valid, or there twice, is ours.
        (
            "X-Forwarded-Proto: ftp\r\nX-Forwarded-Host: a b\r\nX-Forwarded-Port: 0\r\n",
            x("10.0.0.1", "http", host, "8000", "10.0.0.1"),
        ),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a, b\r\nX-Forwarded-Port: +1\r\n",
            x("10.0.0.1", "http", host, "8000", "10.0.0.1"),
        ),
        // A client that only Forwarded tells of.
        ("Forwarded: for=192.0.2.1;proto=https\r\n", x("192.0.2.1, 10.0.0.1", "https", host, "8000", "192.0.2.1")),
    ] {
        assert_eq!(told(Style::XForwarded, "10.0.0.1", lines), expected, "{lines}");
    }
    for (lines, expected) in [
        (
            "Forwarded: for=a\r\nForwarded: for=192.0.2.1\r\n",
            "for=a, for=192.0.2.1, for=10.0.0.1;host=\"a.example:8080\";proto=http",
        ),
        (
            "X-Forwarded-For: 2001:db8::7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example\r\n",
            "for=\"[2001:db8::7]\";host=b.example;proto=https, for=10.0.0.1;host=\"a.example:8080\";proto=http",
        ),
        ("", "for=10.0.0.1;host=\"a.example:8080\";proto=http"),
    ] {
        assert_eq!(told(Style::Rfc7239, "10.0.0.1", lines), format!("Forwarded: {expected}\n"), "{lines}");
    }
}

#[test]
fn what_is_dropped() {
    let drops = |style, from: &str| {
        forwarding(PROXIES, style).dropped(&forwarding(PROXIES, style).origin(&peer(from), &parse_head(""), false))
    };
    for style in [Style::XForwarded, Style::Rfc7239, Style::Both, Style::None] {
        let (known, others) = drops(style, "192.0.2.1");
        assert!(others && NAMES.iter().all(|name| known.contains(crate::http::fields::Known::classify(name))));
    }
    assert!(!drops(Style::XForwarded, "10.0.0.1").1);
    assert_eq!(drops(Style::None, "10.0.0.1"), (crate::http::fields::KnownSet::EMPTY, false));
    assert!(NAMES.iter().all(|name| Name::new(std::str::from_utf8(name).unwrap()).is_some()), "rules may change them");
}

fn any_network() -> impl Strategy<Value = IpNet> {
    let v4 =
        (any::<u32>(), 0..=32_u8).prop_map(|(ip, prefix)| IpNet::new(IpAddr::V4(ip.into()), prefix).unwrap().trunc());
    let v6 =
        (any::<u128>(), 0..=128_u8).prop_map(|(ip, prefix)| IpNet::new(IpAddr::V6(ip.into()), prefix).unwrap().trunc());
    let mapped = (any::<u32>(), 96..=128_u8).prop_map(|(ip, prefix)| {
        let ip: IpAddr = std::net::Ipv4Addr::from(ip).to_ipv6_mapped().into();
        IpNet::new(ip, prefix).unwrap().trunc()
    });
    prop_oneof![v4, v6, mapped]
}

proptest! {
    #[test]
    fn networks_hold_what_ipnet_says(network in any_network(), v4 in any::<u32>(), v6 in any::<u128>(), keep in 0..=128_u32) {
        let trusted = Trusted::new([network].into_iter());
        // An address that shares its beginning with the network, and one that may not.
        let near = match network {
            IpNet::V4(network) => IpAddr::V4((network.addr().to_bits() ^ v4.checked_shr(keep.min(32)).unwrap_or(0)).into()),
            IpNet::V6(network) => IpAddr::V6((network.addr().to_bits() ^ v6.checked_shr(keep).unwrap_or(0)).into()),
        };
        for ip in [near, IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
            let canonical = ip.to_canonical();
            let expected = network.contains(&canonical) || match canonical {
                IpAddr::V4(v4) => network.prefix_len() >= 96 && network.contains(&IpAddr::V6(v4.to_ipv6_mapped())),
                IpAddr::V6(_) => false,
            };
            prop_assert_eq!(trusted.contains(ip), expected, "{} in {}", ip, network);
        }
    }

    #[test]
    fn any_address_has_a_text(v4 in any::<u32>(), v6 in any::<u128>()) {
        for ip in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
            let address = ClientAddress::new(ip, None);
            prop_assert_eq!(address.as_str(), ip.to_canonical().to_string());
        }
    }

    #[test]
    fn any_field_is_walked(value in "[ -~]{0,40}", known in any::<bool>()) {
        let name = if known { "X-Forwarded-For" } else { "Forwarded" };
        let head = parse_head(&format!("{name}: {}\r\n", value.trim()));
        let origin = forwarding(PROXIES, Style::Both).origin(&peer("10.0.0.1"), &head, false);
        prop_assert!(origin.client.ip().is_some());
    }
}
