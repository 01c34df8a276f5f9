//! The server's answers to what it is asked of itself.

use super::redis::{Cmd, RedisResult, Value, cmd};
use unbusy_core::Survey;

/// The next question, as a command.
pub(super) fn question(survey: &Survey) -> Option<Cmd> {
    let (name, args) = survey.question()?.split_first()?;
    Some(cmd(name).arg(args).take())
}

/// Takes the answer.
pub(super) fn hear(survey: &mut Survey, reply: &RedisResult<Value>) {
    survey.hear(reply.as_ref().ok().and_then(words).as_deref());
}

/// The words of a reply, if it has words; those of a map or a list in their order.
fn words(reply: &Value) -> Option<Vec<&[u8]>> {
    match reply {
        Value::BulkString(word) => Some(vec![word]),
        Value::VerbatimString { text, .. } => Some(vec![text.as_bytes()]),
        Value::Array(values) => values.iter().map(words).collect::<Option<Vec<_>>>().map(|all| all.concat()),
        Value::Map(pairs) => {
            let both = pairs.iter().flat_map(|(name, value)| [name, value]);
            both.map(words).collect::<Option<Vec<_>>>().map(|all| all.concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::redis::Value;
    use super::words;

    #[test]
    fn words_are_found_in_all_forms() {
        let word = |text: &str| Value::BulkString(text.into());
        let expected: [&[u8]; 2] = [b"io-threads", b"1"];
        assert_eq!(words(&Value::Array(vec![word("io-threads"), word("1")])).as_deref(), Some(&expected[..]));
        assert_eq!(words(&Value::Map(vec![(word("io-threads"), word("1"))])).as_deref(), Some(&expected[..]));
        assert_eq!(words(&Value::Array(Vec::new())), Some(Vec::new()));
        assert_eq!(words(&Value::Okay), None);
    }
}
