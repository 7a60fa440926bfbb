//! What tokens are taken, and why others are not. No signature is looked at here.

use super::*;
use crate::oauth::AgentRule;

const ENDPOINT: &str = "https://gate.example.com/mcp/files";
const GOOD: &str = r#""iss":"https://i","sub":"ada","aud":"https://gate.example.com/mcp/files","exp":2000,"iat":1000,"client_id":"laptop""#;

/// Base64url as RFC 4648 §5 has it, written by hand: this crate needs it nowhere else.
fn encoded(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |bits: u32| char::from(LETTERS[(bits & 63) as usize]);
    text.as_bytes()
        .chunks(3)
        .flat_map(|chunk| {
            let bits = (0..3).fold(0, |bits, at| (bits << 8) | u32::from(*chunk.get(at).unwrap_or(&0)));
            (0..=chunk.len() as u32).map(move |at| letter(bits >> (18 - 6 * at)))
        })
        .collect()
}

fn read_as(header: &str, claims: &str, scope: Option<&str>) -> Result<Grant, TokenFault> {
    let token = format!("{}.{}.{}", encoded(header), encoded(claims), encoded("signature"));
    let terms = Terms {
        issuer: "https://i".into(),
        agent: AgentRule::Claim { claim: "client_id".into(), names: None },
        audience: None,
        scope: scope.map(str::to_owned),
    };
    Grant::read(&Jws::read(&token).unwrap(), &terms)
}

fn read(claims: &str) -> Result<Grant, TokenFault> {
    read_as(r#"{"alg":"RS256","typ":"at+jwt"}"#, claims, None)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_token_is_good_from_its_start_to_its_end_and_clocks_may_be_half_a_minute_apart() {
    let grant = read(&format!("{{{GOOD}}}")).unwrap();
    assert_eq!((grant.agent.as_str(), grant.subject.as_str()), ("laptop", "ada"));
    for (second, found) in [
        (969, Err(TokenFault::NotYet)),
        (970, Ok(())),
        (1_500, Ok(())),
        (2_029, Ok(())),
        (2_030, Err(TokenFault::Expired)),
    ] {
        assert_eq!(grant.check(ENDPOINT, at(second)), found, "{second}");
    }
    let later = read(&format!(r#"{{{GOOD},"nbf":1500}}"#)).unwrap();
    assert_eq!(later.check(ENDPOINT, at(1_469)), Err(TokenFault::NotYet));
    let fractions = read(&format!("{{{GOOD}}}").replace("2000", "2000.9")).unwrap();
    assert_eq!(fractions.expires_at, at(2_030));
}

#[test]
fn a_token_is_for_the_endpoints_that_it_names() {
    let grant = read(&format!("{{{GOOD}}}")).unwrap();
    for other in
        ["https://gate.example.com", "https://gate.example.com/mcp/file", "https://gate.example.com/mcp", ""]
    {
        assert_eq!(grant.check(other, at(1_500)), Err(TokenFault::Audience), "{other}");
    }
    let several =
        GOOD.replace(r#""https://gate.example.com/mcp/files""#, r#"["a","https://gate.example.com/"]"#);
    let several = read(&format!("{{{several}}}")).unwrap();
    assert_eq!(several.check("https://gate.example.com", at(1_500)), Ok(()));
    assert_eq!(several.check(ENDPOINT, at(1_500)), Err(TokenFault::Audience));
}

#[test]
fn what_is_no_access_token_of_this_issuer_is_refused() {
    let without = |name: &str| {
        let kept: Vec<&str> = GOOD.split(',').filter(|member| !member.contains(name)).collect();
        format!("{{{}}}", kept.join(","))
    };
    for (claims, fault) in [
        (format!(r#"{{{GOOD},"nonce":"n"}}"#), TokenFault::NotAccess),
        (format!(r#"{{{GOOD},"at_hash":"n"}}"#), TokenFault::NotAccess),
        (format!(r#"{{{GOOD},"cnf":{{"jkt":"x"}}}}"#), TokenFault::Bound),
        (format!("{{{GOOD}}}").replace("https://i", "https://i/"), TokenFault::UnknownIssuer),
        (format!("{{{GOOD}}}").replace("laptop", "Not A Name"), TokenFault::NoAgent),
        (without("client_id"), TokenFault::NoAgent),
        (without("\"iss\""), TokenFault::Claims),
        (without("\"sub\""), TokenFault::Claims),
        (without("\"aud\""), TokenFault::Claims),
        (without("\"exp\""), TokenFault::Claims),
        (format!("{{{GOOD}}}").replace("2000", "\"2000\""), TokenFault::Claims),
        (format!("{{{GOOD}}}").replace("2000", "-1"), TokenFault::Claims),
        (format!("{{{GOOD}}}").replace("2000", "1e9"), TokenFault::Claims),
        (format!("{{{GOOD}}}").replace("2000", "99999999999999999999"), TokenFault::Claims),
        (format!("{{{GOOD}}}").replace("\"ada\"", "7"), TokenFault::Claims),
        (format!("{{{GOOD},{GOOD}}}"), TokenFault::Unreadable),
    ] {
        assert_eq!(read(&claims), Err(fault), "{claims}");
    }
    for (kind, good) in
        [("JWT", true), ("application/at+JWT", true), ("dpop+jwt", false), ("logout+jwt", false), ("", false)]
    {
        let header = format!(r#"{{"alg":"RS256","typ":"{kind}"}}"#);
        assert_eq!(read_as(&header, &format!("{{{GOOD}}}"), None).is_ok(), good, "{kind}");
    }
}

#[test]
fn a_scope_that_is_asked_for_must_be_there_as_a_whole_word() {
    for (more, has) in [
        ("", false),
        (r#","scope":"openid tools""#, true),
        (r#","scope":"openid tools-read""#, false),
        (r#","scp":["tools"]"#, true),
        (r#","scp":"tools""#, true),
        (r#","scope":7"#, false),
    ] {
        let grant = read_as(r#"{"alg":"RS256"}"#, &format!("{{{GOOD}{more}}}"), Some("tools")).unwrap();
        assert_eq!(grant.has_scope, has, "{more}");
    }
}
