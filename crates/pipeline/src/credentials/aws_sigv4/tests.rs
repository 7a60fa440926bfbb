//! Against what AWS publishes: the Signature Version 4 test suite, and the examples of the S3 API reference.

use http::Request;

use super::*;

struct Vector {
    name: &'static str,
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    signed: &'static str,
    signature: &'static str,
}

const GET: Vector = Vector {
    name: "",
    method: "GET",
    target: "/",
    headers: &[],
    body: "",
    signed: "host;x-amz-date",
    signature: "",
};

/// Key `AKIDEXAMPLE`, 30 August 2015, `us-east-1`, `service`, `example.amazonaws.com`.
const SUITE: [Vector; 12] = [
    Vector {
        name: "get-vanilla",
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ..GET
    },
    Vector {
        name: "get-vanilla-query-order-key-case",
        target: "/?Param2=value2&Param1=value1",
        signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ..GET
    },
    Vector {
        name: "get-vanilla-query-order-encoded",
        target: "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ..GET
    },
    Vector {
        name: "get-vanilla-query-unreserved",
        target: "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ..GET
    },
    Vector {
        name: "get-vanilla-utf8-query",
        target: "/?ሴ=bar",
        signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ..GET
    },
    Vector {
        name: "get-unreserved",
        target: "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ..GET
    },
    Vector {
        name: "get-utf8",
        target: "/ሴ",
        signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ..GET
    },
    Vector {
        name: "get-slashes-normalized",
        target: "//example//",
        signature: "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ..GET
    },
    Vector {
        name: "get-vanilla-with-session-token",
        headers: &[("x-amz-security-token", "replaced by ours")],
        signed: "host;x-amz-date;x-amz-security-token",
        signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ..GET
    },
    Vector {
        name: "post-vanilla",
        method: "POST",
        signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ..GET
    },
    Vector {
        name: "post-vanilla-query",
        method: "POST",
        target: "/?Param1=value1",
        signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ..GET
    },
    Vector {
        name: "post-x-www-form-urlencoded",
        method: "POST",
        headers: &[("content-type", "application/x-www-form-urlencoded"), ("user-agent", "unsigned")],
        body: "Param1=value1",
        signed: "content-type;host;x-amz-date",
        signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ..GET
    },
];

/// Key `AKIAIOSFODNN7EXAMPLE`, 24 May 2013, `us-east-1`, `s3`, `examplebucket.s3.amazonaws.com`.
const S3: [Vector; 4] = [
    Vector {
        name: "GET object",
        target: "/test.txt",
        headers: &[("range", "bytes=0-9")],
        signed: "host;range;x-amz-content-sha256;x-amz-date",
        signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ..GET
    },
    Vector {
        name: "PUT object",
        method: "PUT",
        target: "/test$file.text",
        headers: &[
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "replaced by ours"),
        ],
        body: "Welcome to Amazon S3.",
        signed: "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    },
    Vector {
        name: "GET bucket lifecycle",
        target: "/?lifecycle",
        signed: "host;x-amz-content-sha256;x-amz-date",
        signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ..GET
    },
    Vector {
        name: "GET bucket",
        target: "/?prefix=J&max-keys=2",
        signed: "host;x-amz-content-sha256;x-amz-date",
        signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ..GET
    },
];

fn authorization(signer: &Signer, host: &str, at: &str, vector: &Vector) -> String {
    let mut request =
        Request::builder().method(vector.method).uri(format!("https://{host}{}", vector.target));
    for (name, value) in vector.headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.header("authorization", "the agent's own").body(()).unwrap().into_parts();
    signer.sign(&mut parts, vector.body.as_bytes(), at.parse().unwrap()).unwrap();
    let all: Vec<_> = parts.headers.get_all("authorization").iter().collect();
    assert_eq!(all.len(), 1);
    assert!(all[0].is_sensitive());
    all[0].to_str().unwrap().to_owned()
}

fn signer(id: &str, secret: &str, service: &str, session_token: Option<&str>) -> Signer {
    Signer {
        access_key_id: id.into(),
        region: "us-east-1".into(),
        service: service.into(),
        key: Secret::new(format!("AWS4{secret}").into_bytes()),
        session_token: session_token.map(|token| token.parse().unwrap()),
    }
}

#[test]
fn signatures_are_those_of_the_published_test_suite() {
    for vector in &SUITE {
        let token = (vector.name == "get-vanilla-with-session-token")
            .then_some("6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267");
        let signer = signer("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "service", token);
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={}, Signature={}",
            vector.signed, vector.signature
        );
        let got = authorization(&signer, "example.amazonaws.com", "2015-08-30T12:36:00Z", vector);
        assert_eq!(got, expected, "{}", vector.name);
    }
}

#[test]
fn signatures_are_those_of_the_s3_reference() {
    let signer = signer("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "s3", None);
    for vector in &S3 {
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders={}, Signature={}",
            vector.signed, vector.signature
        );
        let got = authorization(&signer, "examplebucket.s3.amazonaws.com", "2013-05-24T00:00:00Z", vector);
        assert_eq!(got, expected, "{}", vector.name);
    }
}

#[test]
fn an_encoded_path_is_encoded_again_but_not_for_s3() {
    let (plain, s3) = (signer("a", "b", "service", None), signer("a", "b", "s3", None));
    assert_eq!(plain.canonical_path("/a%20b/c"), "/a%2520b/c");
    assert_eq!(s3.canonical_path("/a%20b/c(1)//d"), "/a%20b/c%281%29//d");
    assert_eq!(canonical_query("b=2&a=x+y&a=x%20a&flag"), "a=x%20a&a=x%20y&b=2&flag=");
}

#[test]
fn the_host_is_signed_as_it_is_sent() {
    for (uri, expected) in [
        ("https://s3.example:443/", "s3.example"),
        ("https://s3.example:9000/", "s3.example:9000"),
        ("http://s3.example:443/", "s3.example:443"),
    ] {
        assert_eq!(host(&uri.parse().unwrap()), expected);
    }
}
