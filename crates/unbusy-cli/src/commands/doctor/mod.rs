//! `unbusy doctor`: what about a server makes BUSY likely, long or harmful. It only reads.
//!
//! `reading` asks, `checks` conclude, each from what was read alone, and `report` tells.
mod checks;
mod finding;
mod reading;
mod report;

use std::io::Write as _;
use std::process::ExitCode;

use reading::Facts;

use crate::asking::{Asker, Condition, block_on};
use crate::cli::{DoctorArgs, ServerSettings};

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings()?;
    let asker = Asker::new(&settings)?;
    let (text, code) = match block_on(read(&asker, &settings, args.show_arguments))? {
        Ok(facts) => examined(&facts, args.json),
        Err(condition) => not_open(&condition, &settings, args),
    };
    // Not println, which panics when nobody reads.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::from(code))
}

async fn read(asker: &Asker, settings: &ServerSettings, arguments: bool) -> Result<Facts, Condition> {
    let mut link = asker.connect().await?;
    match link.look().await {
        Condition::Open { .. } => {}
        other => return Err(other),
    }
    Facts::read(&mut link, settings, arguments).await
}

fn examined(facts: &Facts, json: bool) -> (String, u8) {
    let findings = checks::all(facts);
    let text = if json { report::json(facts, &findings) } else { report::text(facts, &findings) };
    (text, u8::from(report::has_problem(&findings)))
}

/// A server that is not open tells nothing of itself.
fn not_open(condition: &Condition, settings: &ServerSettings, args: &DoctorArgs) -> (String, u8) {
    let server = settings.server.to_string();
    let text = if args.json {
        let mut fields = condition.fields(settings.threshold, args.show_arguments);
        fields.insert("server".to_owned(), server.into());
        format!("{}\n", serde_json::Value::Object(fields))
    } else {
        let words = condition.words(&server, settings.threshold, args.show_arguments);
        format!(
            "{words}  it can be examined when it is open: settings and statistics cannot be read before\n"
        )
    };
    (text, condition.exit_code())
}
