//! However a server's bytes are cut, the client has each reply as soon as its last byte has come.

use proptest::prelude::*;
use unbusy_core::session::{Out, Pass};
use unbusy_core::{Policy, Session, Time};

const REPLIES: &[&str] = &[
    "+OK\r\n",
    "-ERR unknown command 'x'\r\n",
    "-BUSYGROUP Consumer Group name already exists\r\n",
    "-\r\n",
    "!21\r\nSYNTAX invalid syntax\r\n",
    ":1\r\n",
    "$3\r\na\r\n\r\n",
    "$-1\r\n",
    "*2\r\n*1\r\n-ERR inner\r\n$1\r\nx\r\n",
    "%1\r\n+k\r\n_\r\n",
];

proptest! {
    #[test]
    fn nothing_is_kept_back(
        replies in proptest::collection::vec(proptest::sample::select(REPLIES), 1..6),
        cuts in proptest::collection::vec(1_usize..9, 1..60),
    ) {
        let mut session = Session::new(Policy::default());
        let commands = b"GET k\r\n".repeat(replies.len());
        session.client_bytes(&commands, Time::ZERO, &mut Out::default()).unwrap();
        session.send(Pass::Free, Time::ZERO);
        session.wrote(commands.len(), &mut Out::default());

        let text = replies.concat();
        let ends: Vec<usize> = replies.iter().scan(0, |end, reply| { *end += reply.len(); Some(*end) }).collect();
        let (mut at, mut got) = (0, Vec::new());
        for cut in cuts.into_iter().cycle() {
            let piece = &text.as_bytes()[at..(at + cut).min(text.len())];
            let mut out = Out::default();
            session.server_bytes(piece, Time::ZERO, &mut out).unwrap();
            got.extend(out.to_client(piece));
            at += piece.len();
            let whole = ends.iter().copied().filter(|end| *end <= at).max().unwrap_or(0);
            prop_assert!(got.len() >= whole, "{} of {whole} bytes are delivered", got.len());
            if at == text.len() {
                break;
            }
        }
        prop_assert_eq!(got, text.as_bytes());
        prop_assert!(session.is_quiet());
    }
}
