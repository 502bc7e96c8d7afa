//! Which addresses and URLs pass.

use super::*;

#[test]
fn only_addresses_of_the_public_internet_are_public() {
    let inside = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];
    for address in inside {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
    let outside = [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "2a00::1",
    ];
    for address in outside {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn only_plain_urls_of_the_web_pass() {
    let hosts = Hosts::new(&["example.com:8080".to_owned(), "[::1]:9".to_owned()]).unwrap();
    for good in [
        "https://example.org/a?b#c",
        "http://example.org:443/",
        "http://example.com:8080/",
        "http://[::1]:9/",
        "https://example.org:80/",
    ] {
        assert!(hosts.check(good).is_ok(), "{good}");
    }
    assert_eq!(hosts.check("https://example.org/a?b#c").unwrap().as_str(), "https://example.org/a?b");
    for bad in [
        "",
        "example.org",
        "/a",
        "ftp://example.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://ada@example.org/",
        "http://:p@example.org/",
        "http://example.org:22/",
        "http://example.com:81/",
        "http://",
        "data:text/html,x",
        &format!("http://example.org/{}", "x".repeat(3_000)),
    ] {
        assert_eq!(hosts.check(bad).unwrap_err().code(), "url-refused", "{bad}");
    }
    for bad in ["", "a b", "ada@h", "h/path", "h?x", "h#x", "h:99999"] {
        assert!(Hosts::new(&[bad.to_owned()]).is_err(), "{bad}");
    }
}

#[test]
fn one_address_inside_refuses_the_host_however_it_is_written() {
    let hosts = Hosts::default();
    let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 80);
    for text in ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"] {
        let text = &format!("http://{text}/");
        assert_eq!(name(&hosts.check(text).unwrap()), "127.0.0.1", "{text}");
    }
    let url = hosts.check("http://example.org/").unwrap();
    assert!(hosts.admit(&url, vec![at("8.8.8.8"), at("2a00::1")]).is_ok());
    let mixed = hosts.admit(&url, vec![at("8.8.8.8"), at("::ffff:10.0.0.1")]);
    assert_eq!(mixed.unwrap_err().code(), "address-refused");
    assert_eq!(hosts.admit(&url, Vec::new()).unwrap_err().code(), "web-unreachable");
}
