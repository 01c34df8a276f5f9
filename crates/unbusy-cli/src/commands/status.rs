//! `unbusy status`: a server's state, once; as the server itself tells it, or as a proxy sees it.
mod proxy;

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use crate::asking::{Asker, Condition, block_on};
use crate::cli::{ServerSettings, StatusArgs, Subject};

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let (text, code) = match args.subject()? {
        Subject::Server(settings) => {
            let asker = Asker::new(&settings)?;
            let condition = block_on(look(&asker))?;
            (told(&condition, &settings, args), condition.exit_code())
        }
        Subject::Proxy(settings) => {
            let report = block_on(proxy::look(settings))?;
            let text = if args.json { format!("{}\n", report.object()) } else { report.words() };
            (text, report.exit_code())
        }
    };
    // Not println, which panics when nobody reads.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::from(code))
}

async fn look(asker: &Asker) -> Condition {
    match asker.connect().await {
        Ok(mut link) => link.look().await,
        Err(condition) => condition,
    }
}

fn told(condition: &Condition, settings: &ServerSettings, args: &StatusArgs) -> String {
    let server = settings.server.to_string();
    if args.json {
        let mut fields = condition.fields(settings.threshold, args.show_arguments);
        fields.insert("server".to_owned(), server.into());
        format!("{}\n", Value::Object(fields))
    } else {
        condition.words(&server, settings.threshold, args.show_arguments)
    }
}
