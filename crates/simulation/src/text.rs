//! Commands and replies as text.

/// What a busy server says.
pub const BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";

/// A command as clients write it.
pub fn encode(words: &[impl AsRef<str>]) -> Vec<u8> {
    let bulk = |word: &str| format!("${}\r\n{word}\r\n", word.len());
    let words: Vec<String> = words.iter().map(|word| bulk(word.as_ref())).collect();
    format!("*{}\r\n{}", words.len(), words.concat()).into_bytes()
}

/// A command from words with spaces between them.
pub fn cmd(text: &str) -> Vec<u8> {
    encode(&words(text))
}

/// The words between the spaces.
pub fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// A pipeline, one command a line.
pub fn pipeline(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| cmd(line)).collect()
}

/// The first command in `bytes` and its length.
pub fn parse(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    fn line(bytes: &[u8], at: &mut usize) -> Option<String> {
        let end = bytes[*at..].iter().position(|&byte| byte == b'\n')? + *at;
        let text = String::from_utf8_lossy(&bytes[*at..end]).trim_end().to_owned();
        *at = end + 1;
        Some(text)
    }
    let mut at = 0;
    let header = line(bytes, &mut at)?;
    let Some(count) = header.strip_prefix('*') else {
        return Some((header.split_whitespace().map(str::to_owned).collect(), at));
    };
    let mut found = Vec::new();
    for _ in 0..count.parse::<i64>().expect("a number of arguments").max(0) {
        let length: usize = line(bytes, &mut at)?.strip_prefix('$')?.parse().expect("a length");
        let word = bytes.get(at..at + length)?;
        bytes.get(at + length..at + length + 2)?;
        found.push(String::from_utf8_lossy(word).into_owned());
        at += length + 2;
    }
    Some((found, at))
}

/// The length of the first reply in `bytes`, if it is whole.
pub(crate) fn frame(bytes: &[u8]) -> Option<usize> {
    let line = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let number = || str::from_utf8(&bytes[1..line]).ok()?.trim_end().parse::<i64>().ok();
    let parts = match bytes[0] {
        b'$' => {
            let whole = number()?.try_into().map_or(line, |length: usize| line + length + 2);
            return (whole <= bytes.len()).then_some(whole);
        }
        b'*' | b'>' | b'~' => number()?.max(0),
        b'%' => number()? * 2,
        _ => 0,
    };
    let mut at = line;
    for _ in 0..parts {
        at += frame(&bytes[at..])?;
    }
    Some(at)
}

/// Whether a reply is none, but something that was published.
pub(crate) fn is_message(frame: &[u8]) -> bool {
    frame.get(1..).is_some_and(|frame| frame.starts_with(b"3\r\n$7\r\nmessage\r\n"))
}
