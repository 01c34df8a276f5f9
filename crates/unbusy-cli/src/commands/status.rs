//! `unbusy status`: a server's state, once.
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use crate::asking::{Asker, Condition, block_on};
use crate::cli::{ServerSettings, StatusArgs};

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings()?;
    let asker = Asker::new(&settings)?;
    let condition = block_on(look(&asker))?;
    tell(&condition, &settings, args.show_arguments);
    Ok(ExitCode::from(condition.exit_code()))
}

async fn look(asker: &Asker) -> Condition {
    match asker.connect().await {
        Ok(mut link) => link.look().await,
        Err(condition) => condition,
    }
}

fn tell(condition: &Condition, settings: &ServerSettings, arguments: bool) {
    let server = settings.server.to_string();
    let text = if settings.json {
        let mut fields = condition.fields(settings.threshold, arguments);
        fields.insert("server".to_owned(), server.into());
        format!("{}\n", Value::Object(fields))
    } else {
        condition.words(&server, settings.threshold, arguments)
    };
    // Not println, which panics when nobody reads.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
