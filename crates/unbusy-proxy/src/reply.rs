//! A server's reply as a value, for who asks questions. What passes through the proxy is never read so.

/// Deeper than any reply to what is asked here.
const DEPTH_MAX: usize = 16;

/// One reply. Maps and sets are lists, as servers send them without RESP3; attributes are left out.
///
/// ```
/// use unbusy_proxy::Reply;
/// let reply = Reply::parse(b"*2\r\n$14\r\nlua-time-limit\r\n$4\r\n5000\r\n");
/// assert_eq!(reply.get("lua-time-limit").and_then(Reply::number), Some(5000));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A simple, bulk or verbatim string, or anything else of one line.
    Text(Vec<u8>),
    /// An integer.
    Integer(i64),
    /// An error, its code in front.
    Error(String),
    /// An array, a set, a push, or the names and values of a map.
    List(Vec<Self>),
    /// Null, and what cannot be read.
    Null,
}

impl Reply {
    /// Reads one frame, whole and well formed. What is not understood is null.
    pub fn parse(mut frame: &[u8]) -> Self {
        read(&mut frame, 0).unwrap_or(Self::Null)
    }

    /// The error, by its code and its message.
    pub fn error(&self) -> Option<(&str, &str)> {
        match self {
            Self::Error(text) => Some(text.split_once(' ').unwrap_or((text, ""))),
            _ => None,
        }
    }

    /// The text as it may be shown: no control characters reach a terminal.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(bytes) => Some(printable(&String::from_utf8_lossy(bytes))),
            _ => None,
        }
    }

    /// The bytes as text, line ends included.
    pub fn lines(&self) -> Option<String> {
        match self {
            Self::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// A number, also one that is written as text.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            Self::Text(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The parts of a list; of anything else there are none.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The value behind a name in a list of names and values.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let mut pairs = self.items().chunks_exact(2);
        pairs.find(|pair| pair[0] == Self::Text(name.into())).map(|pair| &pair[1])
    }
}

/// The text with its control characters written out.
pub fn printable(text: &str) -> String {
    let written = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(written).collect()
}

fn read(rest: &mut &[u8], depth: usize) -> Option<Reply> {
    let (kind, line) = header(rest)?;
    if depth > DEPTH_MAX {
        return None;
    }
    Some(match kind {
        b'-' => Reply::Error(String::from_utf8_lossy(line).into_owned()),
        b':' => Reply::Integer(number(line)?),
        b'$' | b'=' | b'!' => match usize::try_from(number(line)?) {
            Err(_) => Reply::Null,
            Ok(length) => {
                let body = rest.get(..length)?.to_vec();
                *rest = rest.get(length + 2..)?;
                match kind {
                    b'!' => Reply::Error(String::from_utf8_lossy(&body).into_owned()),
                    // A kind of text and a colon stand in front of it.
                    b'=' => Reply::Text(body.get(4..)?.to_vec()),
                    _ => Reply::Text(body),
                }
            }
        },
        b'*' | b'~' | b'>' => list(rest, number(line)?, depth)?,
        b'%' => list(rest, number(line)?.checked_mul(2)?, depth)?,
        b'|' => {
            list(rest, number(line)?.checked_mul(2)?, depth)?;
            read(rest, depth)?
        }
        b'_' => Reply::Null,
        _ => Reply::Text(line.to_vec()),
    })
}

fn list(rest: &mut &[u8], count: i64, depth: usize) -> Option<Reply> {
    if count < 0 {
        return Some(Reply::Null);
    }
    (0..count).map(|_| read(rest, depth + 1)).collect::<Option<_>>().map(Reply::List)
}

fn header<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (kind, text) = rest.split_first()?;
    let end = text.windows(2).position(|two| two == b"\r\n")?;
    *rest = &text[end + 2..];
    Some((*kind, &text[..end]))
}

fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_both_protocols() {
        let two = Reply::parse(b"*4\r\n$4\r\nname\r\n$1\r\nf\r\n$11\r\nduration_ms\r\n:12\r\n");
        let three = Reply::parse(b"%2\r\n$4\r\nname\r\n$1\r\nf\r\n+duration_ms\r\n:12\r\n");
        assert_eq!(two, three);
        assert_eq!(two.get("duration_ms").and_then(Reply::number), Some(12));
        assert_eq!(two.get("f"), None, "a value is not a name");
        assert_eq!(Reply::parse(b"-BUSY is\r\n").error(), Some(("BUSY", "is")));
        assert_eq!(Reply::parse(b"!7\r\nERR a b\r\n").error(), Some(("ERR", "a b")));
        assert_eq!(Reply::parse(b"=7\r\ntxt:a\r\n\r\n").text().as_deref(), Some("a\\r\\n"));
        for null in [&b"$-1\r\n"[..], b"*-1\r\n", b"_\r\n"] {
            assert_eq!(Reply::parse(null), Reply::Null);
        }
        assert_eq!(Reply::parse(b"|1\r\n+a\r\n:1\r\n$2\r\n17\r\n").number(), Some(17));
    }

    #[test]
    fn what_is_broken_or_too_deep_is_null() {
        assert_eq!(Reply::parse(b"$5\r\nab"), Reply::Null);
        assert_eq!(Reply::parse(&b"*1\r\n".repeat(100_000)), Reply::Null);
        assert_eq!(Reply::parse(b"*9223372036854775807\r\n"), Reply::Null);
    }

    #[test]
    fn nothing_controls_the_terminal() {
        assert_eq!(Reply::Text(b"a\x1b[2Jb\n".to_vec()).text().as_deref(), Some("a\\u{1b}[2Jb\\n"));
    }
}
