//! Replies as values, for tests that ask about meaning rather than bytes.

use crate::frame::{length, line_at};

/// One reply, decoded. Attributes (RESP3 `|`) are left out.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK`.
    Simple(String),
    /// `-ERR …`, without the dash; also the bulk error of RESP3.
    Error(String),
    /// `:1`.
    Integer(i64),
    /// A bulk string; also a verbatim string, with its `txt:` prefix.
    Bulk(Vec<u8>),
    /// Any of the three nulls.
    Null,
    /// `#t` or `#f`.
    Boolean(bool),
    /// `,1.5`, as it was written.
    Double(String),
    /// `(123`, as it was written.
    BigNumber(String),
    /// `*`.
    Array(Vec<Self>),
    /// `%`: keys and values in turn.
    Map(Vec<Self>),
    /// `~`.
    Set(Vec<Self>),
    /// `>`.
    Push(Vec<Self>),
}

impl Reply {
    /// Decodes one complete frame.
    ///
    /// ```
    /// use testkit::Reply;
    /// let reply = Reply::parse(b"*2\r\n:1\r\n$1\r\nx\r\n");
    /// assert_eq!(reply, Reply::Array(vec![Reply::Integer(1), Reply::Bulk(b"x".to_vec())]));
    /// ```
    pub fn parse(frame: &[u8]) -> Self {
        Decoder { frame, at: 0 }.decode()
    }

    /// The `OK` of the server.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == "OK")
    }

    /// The error code is exactly `BUSY`.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Error(text) if text.starts_with("BUSY "))
    }

    /// The text of an error.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The number; panics on any other reply.
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("expected an integer reply, got {other:?}"),
        }
    }

    /// The text of a simple or bulk string; panics on any other reply.
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("expected a string reply, got {other:?}"),
        }
    }

    /// The elements of an array, map, set or push; panics on any other reply.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) | Self::Map(items) | Self::Set(items) | Self::Push(items) => items,
            other => panic!("expected an aggregate reply, got {other:?}"),
        }
    }
}

type Wrap = fn(Vec<Reply>) -> Reply;

/// An aggregate that is being filled.
struct Open {
    missing: u64,
    wrap: Wrap,
    items: Vec<Reply>,
}

enum Piece {
    Value(Reply),
    Aggregate(u64, Wrap),
    Attribute(u64),
}

struct Decoder<'a> {
    frame: &'a [u8],
    at: usize,
}

impl Decoder<'_> {
    fn decode(mut self) -> Reply {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut value = match self.piece() {
                Piece::Attribute(values) => {
                    (0..values).for_each(|_| self.skip());
                    continue;
                }
                Piece::Aggregate(missing, wrap) if missing > 0 => {
                    open.push(Open { missing, wrap, items: Vec::new() });
                    continue;
                }
                Piece::Aggregate(_, wrap) => wrap(Vec::new()),
                Piece::Value(value) => value,
            };
            // The value may be the last one of several aggregates around it.
            loop {
                let Some(mut around) = open.pop() else {
                    return value;
                };
                around.items.push(value);
                around.missing -= 1;
                if around.missing > 0 {
                    open.push(around);
                    break;
                }
                value = (around.wrap)(around.items);
            }
        }
    }

    fn piece(&mut self) -> Piece {
        let line = line_at(self.frame, self.at).expect("an incomplete frame");
        self.at += line.len() + 2;
        let text = || String::from_utf8_lossy(&line[1..]).into_owned();
        let aggregate = |factor: u64, wrap: Wrap| match length(line) {
            Some(n) => Piece::Aggregate(factor * n, wrap),
            None => Piece::Value(Reply::Null),
        };
        let value = match line[0] {
            b'*' => return aggregate(1, Reply::Array),
            b'~' => return aggregate(1, Reply::Set),
            b'>' => return aggregate(1, Reply::Push),
            b'%' => return aggregate(2, Reply::Map),
            b'|' => return Piece::Attribute(2 * length(line).unwrap_or(0)),
            b'+' => Reply::Simple(text()),
            b'-' => Reply::Error(text()),
            b':' => Reply::Integer(text().parse().expect("a RESP integer")),
            b',' => Reply::Double(text()),
            b'(' => Reply::BigNumber(text()),
            b'#' => Reply::Boolean(line == b"#t"),
            b'_' => Reply::Null,
            b'!' => Reply::Error(String::from_utf8_lossy(&self.bulk(line).unwrap_or_default()).into_owned()),
            b'$' | b'=' => self.bulk(line).map_or(Reply::Null, Reply::Bulk),
            _ => panic!("not RESP: {:?}", line.escape_ascii().to_string()),
        };
        Piece::Value(value)
    }

    fn bulk(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let len = usize::try_from(length(line)?).expect("a bulk larger than memory");
        let bytes = self.frame[self.at..self.at + len].to_vec();
        self.at += len + 2;
        Some(bytes)
    }

    /// Steps over one value.
    fn skip(&mut self) {
        let end = crate::FrameScanner::default().end(&self.frame[self.at..]);
        self.at += end.expect("an incomplete frame");
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;

    #[test]
    fn decodes_nested_aggregates() {
        let frame = b"*3\r\n*0\r\n%1\r\n+k\r\n~1\r\n#t\r\n*-1\r\n";
        let expected = Reply::Array(vec![
            Reply::Array(vec![]),
            Reply::Map(vec![Reply::Simple("k".into()), Reply::Set(vec![Reply::Boolean(true)])]),
            Reply::Null,
        ]);
        assert_eq!(Reply::parse(frame), expected);
    }

    #[test]
    fn leaves_attributes_out() {
        let frame = b"|1\r\n+ttl\r\n*1\r\n:9\r\n*1\r\n|1\r\n+x\r\n+y\r\n:7\r\n";
        assert_eq!(Reply::parse(frame), Reply::Array(vec![Reply::Integer(7)]));
    }

    #[test]
    fn only_the_code_busy_is_busy() {
        assert!(Reply::parse(b"-BUSY Redis is busy\r\n").is_busy());
        assert!(!Reply::parse(b"-BUSYGROUP exists\r\n").is_busy());
        assert!(!Reply::parse(b"+BUSY x\r\n").is_busy());
    }

    #[test]
    fn bulk_errors_are_errors() {
        assert_eq!(Reply::parse(b"!5\r\nERR x\r\n").error(), Some("ERR x"));
    }
}
