//! As much JSON as the host and a plugin exchange. Numbers stay text, so that no digit of a 64-bit number is lost.

use std::fmt::Write;

/// How deep values may be nested.
const MAX_DEPTH: usize = 64;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Object),
}

/// An object that keeps the order of its members.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(pub(crate) Vec<(String, Json)>);

impl Object {
    pub(crate) fn new() -> Object {
        Object(Vec::new())
    }

    /// Appends a member.
    pub(crate) fn put(&mut self, key: &str, value: impl Into<Json>) {
        self.0.push((key.to_string(), value.into()));
    }

    /// Appends a text unless it is empty.
    pub(crate) fn put_text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.put(key, value);
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        self.0.iter().find(|m| m.0 == key).map(|m| &m.1)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Json> {
        self.0.iter_mut().find(|m| m.0 == key).map(|m| &mut m.1)
    }
}

static NULL: Json = Json::Null;

impl Json {
    /// Reads one value and nothing after it.
    pub fn parse(text: &[u8]) -> Result<Json, String> {
        let mut p = Parser { text, at: 0 };
        let v = p.value(0)?;
        p.space();
        if p.at < text.len() {
            return Err(p.bad("there is something after the end of the JSON value"));
        }
        Ok(v)
    }

    /// A member of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(o) => o.get(key),
            _ => None,
        }
    }

    /// How many members or elements an object or a list has.
    pub fn len(&self) -> Option<usize> {
        match self {
            Json::Object(o) => Some(o.0.len()),
            Json::List(l) => Some(l.len()),
            _ => None,
        }
    }

    /// A member of an object, null when it is not there.
    pub(crate) fn member(&self, key: &str) -> &Json {
        self.get(key).unwrap_or(&NULL)
    }

    /// The text of a member, "" when there is none.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Json::as_str).unwrap_or("")
    }

    /// The elements of a member, none when it is no list.
    pub(crate) fn list(&self, key: &str) -> &[Json] {
        match self.get(key) {
            Some(Json::List(l)) => l,
            _ => &[],
        }
    }

    pub(crate) fn texts(&self, key: &str) -> Vec<String> {
        self.list(key).iter().filter_map(Json::as_str).map(str::to_string).collect()
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::Text(s) => Some(s),
            _ => None,
        }
    }

    /// The number, if it is one that fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.number().and_then(|n| n.parse().ok())
    }

    /// The number, if it is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.number().and_then(|n| n.parse().ok())
    }

    /// The number, if it is a finite one.
    pub fn as_f64(&self) -> Option<f64> {
        self.number().and_then(|n| n.parse().ok()).filter(|v: &f64| v.is_finite())
    }

    pub(crate) fn number(&self) -> Option<&str> {
        match self {
            Json::Number(n) => Some(n),
            _ => None,
        }
    }

    /// The value as JSON.
    pub fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(n) => out.push_str(n),
            Json::Text(s) => write_text(s, out),
            Json::List(l) => {
                out.push('[');
                for (i, v) in l.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    v.write(out);
                }
                out.push(']');
            }
            Json::Object(o) => {
                out.push('{');
                for (i, (key, v)) in o.0.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    v.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

/// Writes a text in quotes.
pub(crate) fn write_text(s: &str, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

impl From<Object> for Json {
    fn from(o: Object) -> Json {
        Json::Object(o)
    }
}

impl From<bool> for Json {
    fn from(v: bool) -> Json {
        Json::Bool(v)
    }
}

impl From<&str> for Json {
    fn from(v: &str) -> Json {
        Json::Text(v.to_string())
    }
}

impl From<String> for Json {
    fn from(v: String) -> Json {
        Json::Text(v)
    }
}

impl From<f64> for Json {
    fn from(v: f64) -> Json {
        if !v.is_finite() {
            return Json::Null;
        }
        // Debug takes an exponent where Display would write hundreds of digits.
        let text = format!("{:?}", v);
        Json::Number(text.strip_suffix(".0").map_or(text.clone(), str::to_string))
    }
}

macro_rules! from_int {
    ($($t:ty)*) => {$(
        impl From<$t> for Json {
            fn from(v: $t) -> Json {
                Json::Number(v.to_string())
            }
        }
    )*};
}

from_int!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(v: Vec<T>) -> Json {
        Json::List(v.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Json> + Clone> From<&[T]> for Json {
    fn from(v: &[T]) -> Json {
        v.to_vec().into()
    }
}

impl<T: Into<Json>, const N: usize> From<[T; N]> for Json {
    fn from(v: [T; N]) -> Json {
        Json::List(v.into_iter().map(Into::into).collect())
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn bad(&self, what: &str) -> String {
        format!("not valid JSON: {} at byte {}", what, self.at)
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn expect(&mut self, c: u8) -> Result<(), String> {
        self.space();
        if self.peek() != c {
            return Err(self.bad(&format!("no {:?}", c as char)));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, v: Json) -> Result<Json, String> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.bad("no value"));
        }
        self.at += word.len();
        Ok(v)
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err(self.bad("nested too deep"));
        }
        self.space();
        match self.peek() {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => Ok(Json::Text(self.string()?)),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.bad("no value")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        let mut out = Vec::new();
        self.at += 1;
        self.space();
        if self.peek() == b']' {
            self.at += 1;
            return Ok(Json::List(out));
        }
        loop {
            out.push(self.value(depth + 1)?);
            self.space();
            if self.peek() != b',' {
                self.expect(b']')?;
                return Ok(Json::List(out));
            }
            self.at += 1;
        }
    }

    /// Of two equal keys a reader would see one and the plugin take the other, so they are refused.
    fn object(&mut self, depth: usize) -> Result<Json, String> {
        let mut out = Object::new();
        self.at += 1;
        self.space();
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(Json::Object(out));
        }
        let mut keys = std::collections::BTreeSet::new();
        loop {
            self.space();
            if self.peek() != b'"' {
                return Err(self.bad("no key"));
            }
            let key = self.string()?;
            if !keys.insert(key.clone()) {
                return Err(format!("{:?}: key appears twice", key));
            }
            self.expect(b':')?;
            let v = self.value(depth + 1)?;
            out.0.push((key, v));
            self.space();
            if self.peek() != b',' {
                self.expect(b'}')?;
                return Ok(Json::Object(out));
            }
            self.at += 1;
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        let zero = self.peek() == b'0';
        let whole = self.digits();
        if whole == 0 || zero && whole > 1 {
            return Err(self.bad("no number"));
        }
        if self.peek() == b'.' {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.bad("no number"));
            }
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.bad("no number"));
            }
        }
        Ok(Json::Number(String::from_utf8_lossy(&self.text[start..self.at]).into_owned()))
    }

    fn string(&mut self) -> Result<String, String> {
        let mut out = Vec::new();
        self.at += 1;
        loop {
            let start = self.at;
            while !matches!(self.peek(), b'"' | b'\\' | 0..=31) {
                self.at += 1;
            }
            out.extend_from_slice(&self.text[start..self.at]);
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return String::from_utf8(out).map_err(|_| self.bad("text that is not UTF-8"));
                }
                b'\\' => {
                    let c = self.escape()?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => return Err(self.bad("a text without an end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        self.at += 2;
        let c = match self.text.get(self.at - 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.bad("an unknown escape")),
        };
        Ok(c)
    }

    fn hex4(&mut self) -> Result<u32, String> {
        let digits = self.text.get(self.at..self.at + 4).ok_or_else(|| self.bad("a cut escape"))?;
        let mut v = 0;
        for d in digits {
            v = v * 16 + (*d as char).to_digit(16).ok_or_else(|| self.bad("an unknown escape"))?;
        }
        self.at += 4;
        Ok(v)
    }

    /// Half of a pair alone becomes the replacement character.
    fn unicode(&mut self) -> Result<char, String> {
        let mut v = self.hex4()?;
        if (0xd800..0xdc00).contains(&v) && self.text[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
            } else {
                self.at = back;
            }
        }
        Ok(char::from_u32(v).unwrap_or('\u{fffd}'))
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as base64, as JSON carries them.
pub(crate) fn to_base64(data: &[u8]) -> String {
    let mut out = String::with_capacity((data.len() + 2) / 3 * 4);
    for chunk in data.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let v = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let c = BASE64[(v >> (18 - 6 * i)) as usize & 63] as char;
            out.push(if i <= chunk.len() { c } else { '=' });
        }
    }
    out
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        if chunk.len() == 1 {
            return None;
        }
        let mut v = 0;
        for i in 0..4 {
            let digit = match chunk.get(i) {
                Some(c) => BASE64.iter().position(|b| b == c)? as u32,
                None => 0,
            };
            v = v << 6 | digit;
        }
        out.extend_from_slice(&v.to_be_bytes()[1..chunk.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for text in ["null", "[true,false,-0,1.5e300,18446744073709551615]", r#"{"b":"\"\\\n\u0001ü€𝄞","a":{"c":[]}}"#]
        {
            assert_eq!(Json::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        let escaped = Json::parse(br#" "\ud834\udd1e\ud800x\/\u00fc" "#).unwrap();
        assert_eq!(escaped, Json::Text("𝄞\u{fffd}x/ü".into()));
    }

    #[test]
    fn refuses() {
        let deep = "[".repeat(MAX_DEPTH + 2) + &"]".repeat(MAX_DEPTH + 2);
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "+1",
            "nul",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\\u",
            "{\"a\":1,\"a\":2}",
            "1 2",
            "\"\n\"",
            "{a:1}",
            &deep,
        ] {
            assert!(Json::parse(text.as_bytes()).is_err(), "{}", text);
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
    }

    // A parser must survive every prefix and every changed byte.
    #[test]
    fn hostile_bytes() {
        let good = br#"{"a":[1.5e-3,"\u00e4\\",null,true],"b":{"c":"d"}}"#;
        for at in 0..good.len() {
            let _ = Json::parse(&good[..at]);
            for byte in [0, b'"', b'\\', b'{', b'u', 0xff] {
                let mut changed = good.to_vec();
                changed[at] = byte;
                let _ = Json::parse(&changed);
            }
        }
    }

    #[test]
    fn numbers_that_json_has_no_word_for() {
        assert_eq!(Json::from(1e300).to_string(), "1e300");
        assert_eq!(Json::from(0.1).to_string(), "0.1");
        assert_eq!(Json::from(2.0).to_string(), "2");
        assert_eq!(Json::from(f64::NAN), Json::Null);
    }

    #[test]
    fn base64() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(to_base64(plain.as_bytes()), text);
            assert_eq!(from_base64(text).unwrap(), plain.as_bytes());
        }
        assert!(from_base64("Z").is_none() && from_base64("Z*==").is_none());
    }
}
