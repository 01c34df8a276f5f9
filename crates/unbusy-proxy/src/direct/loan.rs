//! How a worker gives a connection back to the user whose it is.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use crate::pair::Pair;
use crate::serve::Seat;

/// What a worker has of a connection besides itself.
pub(crate) struct Loan {
    seat: Seat,
    desk: Arc<Desk>,
}

/// Where he leaves it.
#[derive(Default)]
pub(super) struct Desk(Mutex<Option<Box<Returned>>>);

pub(super) struct Returned {
    pub(super) pair: Box<Pair>,
    /// The worker's end of the socket, with what its user has written there since.
    pub(super) client: UnixStream,
    pub(super) seat: Seat,
}

impl Loan {
    pub(super) fn of(seat: Seat) -> (Self, Arc<Desk>) {
        let desk = Arc::<Desk>::default();
        (Self { seat, desk: Arc::clone(&desk) }, desk)
    }

    /// Its user finds it at the end of what his socket still has for him. If he has closed that or written more, it stays here.
    pub(crate) fn give_back(self, mut pair: Box<Pair>) -> io::Result<Option<(Box<Pair>, Self)>> {
        let desk = Arc::clone(&self.desk);
        let mut place = desk.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pair.client_has_more() {
            return Ok(Some((pair, self)));
        }
        let client = pair.give_back()?;
        // Who reads the end of the socket has to wait until the connection is there.
        client.shutdown(Shutdown::Write)?;
        *place = Some(Box::new(Returned { pair, client, seat: self.seat }));
        Ok(None)
    }
}

impl Desk {
    /// The connection, if it is back. If not, the worker will see all that was written until now before he gives it back.
    pub(super) fn take(&self) -> Option<Box<Returned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
