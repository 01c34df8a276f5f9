//! The scanner of commands: it finds the commands that another implementation finds, however the bytes are cut.
//!
//! Where `redis-protocol` and the scanner differ on purpose, since the scanner does as servers do:
//! * A command may be a line of words; `redis-protocol` knows arrays only.
//! * Any byte may stand behind the return that ends a header.
//! * A command without words may be written with any number below one.
//! * Words have up to 512 MiB, and are never null.

use redis_protocol::resp2::{
    decode,
    types::{OwnedFrame, Resp2Frame},
};
use unbusy_core::command::Command;
use unbusy_core::resp::{RequestError, RequestScanner, args, whole_request};

use super::input::Cuts;

pub fn check(bytes: &[u8]) {
    let whole = scan(bytes, Cuts::Nowhere);
    assert_eq!(scan(bytes, Cuts::Everywhere), whole, "cut everywhere");
    assert_eq!(scan(bytes, Cuts::Somewhere(bytes.len() as u64)), whole, "cut somewhere");
    let mut start = 0;
    for &end in &whole.ends {
        check_command(&bytes[start..], end - start);
        start = end;
    }
    check_rest(&bytes[start..], whole.error);
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    ends: Vec<usize>,
    error: Option<RequestError>,
}

/// As the store of a session does it: what has come is looked at from the beginning of its first command on.
fn scan(bytes: &[u8], mut cuts: Cuts) -> Found {
    let mut scanner = RequestScanner::default();
    let mut found = Found { ends: Vec::new(), error: None };
    let (mut start, mut seen) = (0, 0);
    for piece in cuts.pieces(bytes) {
        seen += piece.len();
        loop {
            match scanner.scan(&bytes[start..seen]) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    assert!(length > 0, "a command without bytes");
                    start += length;
                    found.ends.push(start);
                }
                Err(error) => {
                    found.error = Some(error);
                    return found;
                }
            }
            assert!(scanner.announced() <= (seen - start) as u64 || !scanner.between_commands());
        }
    }
    found
}

/// What begins here is a command of this length.
fn check_command(bytes: &[u8], length: usize) {
    let command = &bytes[..length];
    let words: Vec<_> = args(command).collect();
    if let Some((short, name)) = whole_request(bytes) {
        assert_eq!((short, Some(&name)), (length, words.first()), "the fast path agrees");
    }
    let read = Command::read(command);
    assert_eq!(read, Command::of_words(words.iter().copied()));
    let usual = command.starts_with(b"*") && is_usual(command, &words);
    if !usual {
        return;
    }
    let decoded = decode::decode(bytes).expect("redis-protocol can read it");
    let (frame, end) = decoded.expect("it is whole for redis-protocol, too");
    assert_eq!(end, length, "whole as to redis-protocol");
    let OwnedFrame::Array(frames) = frame else { panic!("an array as to redis-protocol") };
    let decoded: Vec<_> = frames.iter().map(|frame| frame.as_bytes().expect("a word")).collect();
    assert_eq!(decoded, words, "words as to redis-protocol");
}

/// Whether this multibulk command is written as clients do: with line feeds behind its headers, and with words.
fn is_usual(command: &[u8], words: &[&[u8]]) -> bool {
    let sum: usize = words.iter().map(|word| word.len()).sum();
    let mut headers = command;
    let mut count = 0;
    let mut bytes = 0;
    while let Some(end) = headers.iter().position(|&byte| byte == b'\r') {
        if headers.get(end + 1) != Some(&b'\n') {
            return false;
        }
        bytes += end + 2;
        headers = &headers[end + 2..];
        if count > 0 {
            let word = words[count - 1].len() + 2;
            bytes += word;
            headers = &headers[word..];
        }
        count += 1;
    }
    !words.is_empty() && bytes == command.len() && count == words.len() + 1 && sum < bytes
}

/// No command is complete here.
fn check_rest(bytes: &[u8], error: Option<RequestError>) {
    assert!(whole_request(bytes).is_none(), "the fast path finds more");
    let Ok(Some((OwnedFrame::Array(frames), _))) = decode::decode(bytes) else { return };
    let has_words = frames.iter().all(|frame| matches!(frame, OwnedFrame::BulkString(_)));
    assert!(!has_words || error.is_some(), "redis-protocol finds a whole command");
    // Whatever else is an array is refused by servers.
    let known =
        matches!(error, Some(RequestError::NoDollar | RequestError::BadLength | RequestError::BadCount));
    assert!(known, "{frames:?} is refused as {error:?}");
}
