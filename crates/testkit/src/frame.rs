//! RESP at the level of bytes: where a frame ends, and how a command is written.

/// Finds the end of one complete top-level RESP2 or RESP3 frame.
///
/// It works on a stack of none: all that has to be known is how many values are still owed, so a reply nested a
/// million deep is no danger. It can be asked again with a longer buffer and goes on where it stopped.
///
/// ```
/// let mut scanner = testkit::FrameScanner::default();
/// assert_eq!(scanner.end(b"*2\r\n:1\r\n$3\r\nab"), None);
/// assert_eq!(scanner.end(b"*2\r\n:1\r\n$3\r\nabc\r\n+next\r\n"), Some(17));
/// ```
#[derive(Debug, Clone)]
pub struct FrameScanner {
    at: usize,
    owed: u64,
}

impl Default for FrameScanner {
    fn default() -> Self {
        Self { at: 0, owed: 1 }
    }
}

impl FrameScanner {
    /// The length of the frame that begins at the start of `buffer`, or `None` while it is incomplete.
    ///
    /// Panics if the bytes are not RESP.
    pub fn end(&mut self, buffer: &[u8]) -> Option<usize> {
        while self.owed > 0 {
            let line = line_at(buffer, self.at)?;
            let after_line = self.at + line.len() + 2;
            let (next, more) = match line[0] {
                b'$' | b'!' | b'=' => (after_bulk(after_line, length(line)), 0),
                b'*' | b'~' | b'>' => (after_line, length(line).unwrap_or(0)),
                b'%' => (after_line, 2 * length(line).unwrap_or(0)),
                // An attribute is an extra in front of the value that it belongs to.
                b'|' => (after_line, 2 * length(line).unwrap_or(0) + 1),
                b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => (after_line, 0),
                _ => panic!("not RESP: {:?}", line.escape_ascii().to_string()),
            };
            if next > buffer.len() {
                return None;
            }
            self.at = next;
            self.owed = self.owed - 1 + more;
        }
        Some(self.at)
    }
}

/// The line at `at` without its CRLF; `None` while its end is not there.
pub(crate) fn line_at(buffer: &[u8], at: usize) -> Option<&[u8]> {
    let rest = &buffer[at..];
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    assert!(end > 0, "not RESP: an empty line");
    Some(&rest[..end])
}

/// The number in a header such as `$12`; `None` for the null of RESP2, `$-1`.
pub(crate) fn length(line: &[u8]) -> Option<u64> {
    if &line[1..] == b"-1" {
        return None;
    }
    let number = std::str::from_utf8(&line[1..]).ok().and_then(|text| text.parse().ok());
    Some(number.unwrap_or_else(|| panic!("not a RESP length: {:?}", line.escape_ascii().to_string())))
}

fn after_bulk(after_line: usize, length: Option<u64>) -> usize {
    length.map_or(after_line, |n| after_line + usize::try_from(n).expect("a bulk larger than memory") + 2)
}

/// Writes a command as a RESP array of bulk strings.
///
/// ```
/// assert_eq!(testkit::encode(&["GET", "key"]), b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
/// ```
pub fn encode(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{FrameScanner, encode};

    /// Every prefix is incomplete, whether asked at once or byte by byte, and what follows does not matter.
    fn assert_one_frame(frame: &[u8]) {
        let mut resumed = FrameScanner::default();
        for cut in 0..frame.len() {
            assert_eq!(FrameScanner::default().end(&frame[..cut]), None, "cut at {cut}");
            assert_eq!(resumed.end(&frame[..cut]), None, "resumed, cut at {cut}");
        }
        assert_eq!(resumed.end(frame), Some(frame.len()));
        let followed = [frame, b"+next\r\n"].concat();
        assert_eq!(FrameScanner::default().end(&followed), Some(frame.len()));
    }

    #[test]
    fn finds_the_end_of_every_type() {
        let frames: [&[u8]; 19] = [
            b"+OK\r\n",
            b"+\r\n",
            b"-BUSY Redis is busy\r\n",
            b":-12\r\n",
            b"$3\r\na\r\n\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
            b"_\r\n",
            b"#t\r\n",
            b",1.5\r\n",
            b"(12345678901234567890\r\n",
            b"!5\r\nERR x\r\n",
            b"=5\r\ntxt:a\r\n",
            b"%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n:2\r\n",
            b">2\r\n+message\r\n$-1\r\n",
            b"|1\r\n+ttl\r\n:1\r\n*1\r\n|1\r\n+x\r\n:1\r\n:7\r\n",
        ];
        for frame in frames {
            assert_one_frame(frame);
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = [b"*1\r\n".repeat(200_000), b":1\r\n".to_vec()].concat();
        assert_eq!(FrameScanner::default().end(&deep), Some(deep.len()));
    }

    #[test]
    fn a_command_is_one_frame() {
        assert_one_frame(&encode(&[&b"SET"[..], b"k", b"\r\n\0"]));
    }

    #[test]
    #[should_panic(expected = "not RESP")]
    fn garbage_is_refused() {
        FrameScanner::default().end(b"HTTP/1.1 200\r\n");
    }
}
