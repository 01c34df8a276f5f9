//! Where commands and replies end.

use std::hint::black_box;

use unbusy_core::resp::{ReplyScanner, RequestScanner, Scanned};

const REQUESTS: [&[u8]; 4] = [
    b"*2\r\n$3\r\nGET\r\n$7\r\nuser:17\r\n",
    b"*3\r\n$3\r\nSET\r\n$7\r\nuser:17\r\n$5\r\nvalue\r\n",
    b"*5\r\n$3\r\nSET\r\n$7\r\nuser:17\r\n$5\r\nvalue\r\n$2\r\nEX\r\n$2\r\n60\r\n",
    b"*4\r\n$4\r\nHSET\r\n$7\r\nuser:17\r\n$4\r\nname\r\n$3\r\nJoe\r\n",
];

const REPLIES: [&[u8]; 4] =
    [b"+OK\r\n", b":1\r\n", b"$5\r\nvalue\r\n", b"*3\r\n$1\r\na\r\n$-1\r\n*2\r\n:1\r\n+b\r\n"];

pub(crate) fn requests(times: usize) -> usize {
    REQUESTS.iter().cycle().take(times).map(|request| scan_request(request)).sum()
}

pub(crate) fn replies(times: usize) -> usize {
    let mut scanner = ReplyScanner::default();
    REPLIES.iter().cycle().take(times).map(|reply| scan_reply(&mut scanner, reply)).sum()
}

pub(crate) fn large_request(times: usize) -> usize {
    let request = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16384\r\n", &[b'v'; 16_384][..], b"\r\n"].concat();
    (0..times).map(|_| scan_request(&request)).sum()
}

pub(crate) fn large_reply(times: usize) -> usize {
    let reply = [b"$16384\r\n", &[b'v'; 16_384][..], b"\r\n"].concat();
    let mut scanner = ReplyScanner::default();
    (0..times).map(|_| scan_reply(&mut scanner, &reply)).sum()
}

fn scan_request(bytes: &[u8]) -> usize {
    let length = RequestScanner::default().scan(black_box(bytes)).expect("well-formed");
    length.expect("whole")
}

fn scan_reply(scanner: &mut ReplyScanner, bytes: &[u8]) -> usize {
    match scanner.scan(black_box(bytes)).expect("well-formed") {
        Scanned::Complete(length) => length,
        Scanned::Partial => panic!("a whole reply"),
    }
}
