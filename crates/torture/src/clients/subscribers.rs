//! Clients that listen.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use testkit::Reply;

use crate::{
    stage::{Stage, any_channel},
    wire::Wire,
};

/// How long to wait for a message before looking whether the round is over.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn raw(stage: &Arc<Stage>, proxy: &str, stream: u64) -> JoinHandle<()> {
    let proxy = proxy.to_owned();
    stage.client("subscriber", stream, move |stage, chance| {
        let mut wire = Wire::connect(&proxy)?;
        let channel = any_channel(chance);
        let reply = wire.cmd(&["SUBSCRIBE", &channel])?;
        if let Reply::Error(text) = reply {
            stage.recorder.line("subscriber", true).complain(text);
            return Ok(());
        }
        let ear = stage.recorder.hearing("subscriber", &channel);
        while stage.goes_on() {
            match wire.read(LOOK) {
                Ok(message) => ear.hear(message.items()[2].text()),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}
