//! Finds the ends of the commands that a client sends: multibulk and inline.
//!
//! Source: redis `src/networking.c` (`processMultibulkBuffer`, `processInlineBuffer`).

use super::number;

/// Servers refuse an inline command or a header line beyond this (`PROTO_INLINE_MAX_SIZE`).
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Servers refuse more words, or a longer one, at the header if the client has not logged in
/// (`processMultibulkBuffer`).
const STRANGERS_WORDS_MAX: u64 = 10;
const STRANGERS_WORD_BYTES_MAX: u64 = 16 * 1024;

/// A server would answer these bytes with a protocol error and close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// A line is longer than 64 KiB.
    LineTooLong,
    /// The number of arguments is no number or out of range.
    BadCount,
    /// An argument does not begin with `$`.
    NoDollar,
    /// The length of an argument is no number or out of range.
    BadLength,
    /// A zero byte in an inline command: servers never see the end of such a line (`strchr` in
    /// `processInlineBuffer`).
    ZeroByte,
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LineTooLong => "a line longer than 64 KiB",
            Self::BadCount => "an invalid number of arguments",
            Self::NoDollar => "an argument that does not begin with '$'",
            Self::BadLength => "an invalid length of an argument",
            Self::ZeroByte => "a zero byte in an inline command",
        })
    }
}

impl std::error::Error for RequestError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// At the first byte of a command.
    #[default]
    Start,
    /// In an inline command.
    Inline,
    /// At the header of an argument; so many are still to come.
    Argument { left: u64 },
    /// In an argument whose end is this far from the start of the command.
    Body { left: u64, end: u64 },
}

/// Finds where a command ends, looking at every byte once.
///
/// It is given the bytes from the beginning of the command each time, as far as they have come.
///
/// ```
/// use unbusy_core::resp::RequestScanner;
/// let mut scanner = RequestScanner::default();
/// assert_eq!(scanner.scan(b"*1\r\n$4\r\nPI"), Ok(None));
/// assert_eq!(scanner.scan(b"*1\r\n$4\r\nPING\r\n*1\r\n"), Ok(Some(14)));
/// assert_eq!(scanner.scan(b"GET k\r\n"), Ok(Some(7)), "inline");
/// ```
#[derive(Debug, Clone, Default)]
pub struct RequestScanner {
    state: State,
    /// Bytes of the command that need not be looked at again.
    at: usize,
    /// The command is beyond what servers take from a client that has not logged in.
    large: bool,
}

impl RequestScanner {
    /// Whether the next byte begins a command.
    pub fn between_commands(&self) -> bool {
        self.state == State::Start
    }

    /// The length of the command that `bytes` begins with, or `None` while its end has not come.
    ///
    /// # Errors
    /// When a server would refuse the bytes as a protocol error.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, RequestError> {
        loop {
            let Some(next) = self.step(bytes)? else { return Ok(None) };
            if next == State::Start {
                let length = self.at;
                *self = Self::default();
                return Ok(Some(length));
            }
            self.large |= match next {
                State::Argument { left } => left > STRANGERS_WORDS_MAX,
                State::Body { end, .. } => end - self.at as u64 - 2 > STRANGERS_WORD_BYTES_MAX,
                State::Start | State::Inline => false,
            };
            self.state = next;
        }
    }

    /// Whether the command that has begun is so large that a server refuses it at its header if the client has not
    /// logged in.
    pub const fn is_large(&self) -> bool {
        self.large
    }

    /// How long the command will at least be, as far as its headers tell; for reserving memory and for limits.
    pub const fn announced(&self) -> u64 {
        match self.state {
            State::Body { end, .. } => end,
            _ => self.at as u64,
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<Option<State>, RequestError> {
        match self.state {
            State::Start => Ok(match bytes.first() {
                None => None,
                Some(b'*') => self.header(bytes)?.map(count).transpose()?,
                Some(_) => Some(State::Inline),
            }),
            State::Inline => {
                let end = self.inline_end(bytes)?.unwrap_or_else(|| bytes.len().min(LINE_BYTES_MAX));
                if memchr::memchr(0, &bytes[..end]).is_some() {
                    return Err(RequestError::ZeroByte);
                }
                Ok((self.at > 0).then_some(State::Start))
            }
            State::Argument { left } => {
                let from = self.at;
                if bytes.get(from).is_some_and(|&byte| byte != b'$') {
                    return Err(RequestError::NoDollar);
                }
                let Some(line) = self.header(bytes)? else { return Ok(None) };
                let length = length(line)?;
                Ok(Some(State::Body { left, end: self.at as u64 + length + 2 }))
            }
            State::Body { left, end } => {
                if (bytes.len() as u64) < end {
                    return Ok(None);
                }
                self.at = end as usize;
                Ok(Some(if left == 1 { State::Start } else { State::Argument { left: left - 1 } }))
            }
        }
    }

    /// The header line at `self.at` without its type byte, once it is complete; moves behind it.
    ///
    /// Servers look for the return only and skip whatever byte is behind it.
    fn header<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, RequestError> {
        let Some(end) = self.find(b'\r', bytes)? else { return Ok(None) };
        if end + 1 == bytes.len() {
            return Ok(None);
        }
        let line = &bytes[self.at + 1..end];
        self.at = end + 2;
        Ok(Some(line))
    }

    /// The end of an inline command, once it is complete; moves there.
    fn inline_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, RequestError> {
        let end = self.find(b'\n', bytes)?;
        self.at = end.map_or(self.at, |end| end + 1);
        Ok(end)
    }

    fn find(&self, byte: u8, bytes: &[u8]) -> Result<Option<usize>, RequestError> {
        let rest = &bytes[self.at..];
        let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
        // Numbers are short, so a plain loop finds their end sooner than a search call would.
        match window.iter().position(|&other| other == byte) {
            Some(end) => Ok(Some(self.at + end)),
            None if rest.len() >= LINE_BYTES_MAX => Err(RequestError::LineTooLong),
            None => Ok(None),
        }
    }
}

/// The fast path of [`RequestScanner::scan`] at the beginning of a command: the length and the first word of the
/// multibulk command that `bytes` begins with, if all of it has come in its usual form.
///
/// ```
/// use unbusy_core::resp::whole_request;
/// assert_eq!(whole_request(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n"), Some((20, &b"GET"[..])));
/// assert_eq!(whole_request(b"*2\r\n$3\r\nGET\r\n"), None);
/// ```
#[inline]
pub fn whole_request(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (words, count) = number::header(b'*', bytes)?;
    let mut end = count;
    let mut first = None;
    for _ in 0..words {
        let (length, header) = number::header(b'$', bytes.get(end..)?)?;
        let start = end + header;
        end = start + length + 2;
        first = first.or(Some((start, length)));
    }
    let (start, length) = first?;
    let name = bytes.get(..end)?.get(start..start + length)?;
    Some((end, name))
}

/// `*0` and `*-1` are commands of no words, which servers skip without a reply.
fn count(digits: &[u8]) -> Result<State, RequestError> {
    match number::parse(digits) {
        Some(n) if n > i64::from(i32::MAX) => Err(RequestError::BadCount),
        Some(n) if n > 0 => Ok(State::Argument { left: n as u64 }),
        Some(_) => Ok(State::Start),
        None => Err(RequestError::BadCount),
    }
}

fn length(digits: &[u8]) -> Result<u64, RequestError> {
    /// The servers' default of `proto-max-bulk-len`.
    const ARGUMENT_BYTES_MAX: i64 = 512 << 20;
    match number::parse(digits) {
        Some(n) if (0..=ARGUMENT_BYTES_MAX).contains(&n) => Ok(n as u64),
        _ => Err(RequestError::BadLength),
    }
}

/// The words of a complete command, which `scan` has found to be well formed.
///
/// ```
/// use unbusy_core::resp::args;
/// assert_eq!(args(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").collect::<Vec<_>>(), [&b"GET"[..], b"k"]);
/// assert_eq!(args(b"get  k\r\n").collect::<Vec<_>>(), [&b"get"[..], b"k"]);
/// ```
pub fn args(command: &[u8]) -> impl Iterator<Item = &[u8]> {
    let multibulk = command.first() == Some(&b'*');
    let mut rest = command;
    if multibulk {
        split_header(&mut rest);
    }
    std::iter::from_fn(move || if multibulk { next_bulk(&mut rest) } else { next_word(&mut rest) })
}

fn split_header<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&byte| byte == b'\r')?;
    let line = &rest[..end];
    *rest = rest.get(end + 2..)?;
    Some(line)
}

fn next_bulk<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = if let Some((length, header)) = number::header(b'$', rest) {
        *rest = &rest[header..];
        length
    } else {
        usize::try_from(number::parse(split_header(rest)?.strip_prefix(b"$")?)?).ok()?
    };
    let word = rest.get(..length)?;
    *rest = rest.get(length + 2..).unwrap_or_default();
    Some(word)
}

/// Inline words may be quoted; the quotes of a word do not matter for telling which command it is, but quoted
/// command names exist, so they are taken off.
fn next_word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let start = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let text = &rest[start..];
    if let Some(quote @ (b'"' | b'\'')) = text.first().copied() {
        let end = text[1..].iter().position(|&byte| byte == quote).map_or(text.len(), |end| end + 1);
        *rest = text.get(end + 1..).unwrap_or_default();
        return text.get(1..end);
    }
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    *rest = &text[end..];
    Some(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(words: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
        bytes
    }

    #[test]
    fn empty_commands_end_at_once() {
        for bytes in [&b"*0\r\n"[..], b"*-1\r\n", b"*-10\r\n", b"\r\n", b"\n"] {
            assert_eq!(RequestScanner::default().scan(bytes), Ok(Some(bytes.len())));
            assert_eq!(args(bytes).count(), 0);
        }
    }

    #[test]
    fn protocol_errors_are_found_before_the_command_is_complete() {
        for (bytes, error) in [
            (&b"*x\r\n"[..], RequestError::BadCount),
            (b"*2147483648\r\n", RequestError::BadCount),
            (b"*1\r\n+OK\r\n", RequestError::NoDollar),
            (b"*1\r\n$-1\r\n", RequestError::BadLength),
            (b"*1\r\n$x\r\n", RequestError::BadLength),
            (b"*1\r\n$9223372036854775807\r\n", RequestError::BadLength),
        ] {
            assert_eq!(RequestScanner::default().scan(bytes), Err(error), "{}", bytes.escape_ascii());
        }
        assert_eq!(RequestScanner::default().scan(b"*2147483647\r\n"), Ok(None), "that many are allowed");
        assert_eq!(RequestError::BadCount.to_string(), "an invalid number of arguments");
        assert_eq!(RequestScanner::default().scan(b"GET \0k\r\n"), Err(RequestError::ZeroByte));
        assert_eq!(RequestScanner::default().scan(b"GET k\r\n\0"), Ok(Some(7)));
        assert_eq!(RequestScanner::default().scan(&vec![b'x'; 70_000]), Err(RequestError::LineTooLong));
        assert_eq!(RequestScanner::default().scan(&vec![b'x'; 60_000]), Ok(None));
    }

    #[test]
    fn any_byte_may_stand_behind_a_return() {
        let bytes = b"*2\rX$4\r\0ECHO..$1\r$x..";
        assert_eq!(RequestScanner::default().scan(bytes), Ok(Some(bytes.len())));
        assert_eq!(args(bytes).collect::<Vec<_>>(), [&b"ECHO"[..], b"x"]);
        assert_eq!(RequestScanner::default().scan(b"*2\r"), Ok(None));
        assert_eq!(RequestScanner::default().scan(b"*1\n$4\r\n"), Err(RequestError::BadCount));
    }

    #[test]
    fn words_are_found_however_many_there_are() {
        for count in [1, 9, 10, 100, 1000] {
            let words = vec![b"word".to_vec(); count];
            assert!(args(&encode(&words)).eq(words.iter().map(Vec::as_slice)), "{count}");
        }
    }

    #[test]
    fn a_large_command_is_known_by_its_headers() {
        for (bytes, large) in [
            (&b"*10\r\n"[..], false),
            (b"*11\r\n", true),
            (b"*1\r\n$16384\r\n", false),
            (b"*1\r\n$16385\r\n", true),
            (b"*2\r\n$1\r\nx\r\n$16385\r\n", true),
        ] {
            let mut scanner = RequestScanner::default();
            assert_eq!(scanner.scan(bytes), Ok(None));
            assert_eq!(scanner.is_large(), large, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn announced_length_grows_with_the_headers() {
        let mut scanner = RequestScanner::default();
        assert_eq!(scanner.scan(b"*2\r\n$3\r\nSET\r\n$100000\r\nab"), Ok(None));
        assert_eq!(scanner.announced(), 22 + 100_000 + 2);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            commands in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..5), 1..5),
            piece in 1_usize..7,
        ) {
            let bytes: Vec<u8> = commands.iter().flat_map(|c| encode(c)).collect();
            let mut scanner = RequestScanner::default();
            let (mut start, mut seen, mut found) = (0, 0, Vec::new());
            while seen < bytes.len() {
                seen = (seen + piece).min(bytes.len());
                while let Some(length) = scanner.scan(&bytes[start..seen]).unwrap() {
                    found.push(args(&bytes[start..start + length]).map(<[u8]>::to_vec).collect::<Vec<_>>());
                    start += length;
                }
            }
            prop_assert_eq!(found, commands);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut scanner = RequestScanner::default();
            let mut start = 0;
            while let Ok(Some(length)) = scanner.scan(&bytes[start..]) {
                prop_assert!(length > 0);
                args(&bytes[start..start + length]).for_each(drop);
                start += length;
            }
        }
    }
}
