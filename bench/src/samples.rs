//! What clients and backends really send.

/// What wrk sends.
pub(crate) const WRK: &str = "GET /users/42 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// What curl sends.
pub(crate) const CURL: &str =
    "GET /users/42?fields=name HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";

/// What a browser sends: 20 fields.
pub(crate) const BROWSER: &str = "GET /api/users/42?fields=name,email&page=2 HTTP/1.1\r\n\
    Host: api.example.com\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Referer: https://app.example.com/people/all\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=all\r\n\
    If-None-Match: W/\"5f3-18c7b2a\"\r\n\
    DNT: 1\r\n\
    Priority: u=0, i\r\n\r\n";

/// The head of what nginx answers; 128 bytes of a body follow.
pub(crate) const RESPONSE: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
    Content-Type: application/octet-stream\r\nContent-Length: 128\r\nConnection: keep-alive\r\n\
    ETag: \"65f0c1d2-80\"\r\nAccept-Ranges: bytes\r\n\r\n";
