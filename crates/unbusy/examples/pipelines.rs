//! Books orders with pipelines, atomic pipelines and a watched transaction.
//!
//! `cargo run -p unbusy --example pipelines [URL]`
use redis::{Commands, RedisResult};
use unbusy::Client; // was: use redis::Client;

/// How many orders are booked.
pub(crate) const ORDERS: u64 = 1_000;

fn main() -> RedisResult<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1/".into());
    run(&url)
}

/// Books [`ORDERS`] orders on this server.
///
/// # Errors
/// Any that the server or the connection gives.
pub(crate) fn run(url: &str) -> RedisResult<()> {
    let mut connection = Client::open(url)?.get_connection()?;
    let _: () = connection.set("stock", ORDERS)?;
    for order in 0..ORDERS {
        let (count, length): (u64, u64) = redis::pipe()
            .hset(format!("order:{order}"), "pieces", 1)
            .ignore()
            .incr("orders", 1)
            .rpush("log", order)
            .query(&mut connection)?;
        assert_eq!((count, length), (order + 1, order + 1));
        let _: () = redis::pipe()
            .atomic()
            .decr("stock", 1)
            .ignore()
            .incr("sold", 1)
            .ignore()
            .query(&mut connection)?;
        let (takings,): (u64,) =
            redis::transaction(&mut connection, &["takings"], |connection, pipeline| {
                let takings: Option<u64> = connection.get("takings")?;
                pipeline.set("takings", takings.unwrap_or(0) + 5).ignore().get("takings").query(connection)
            })?;
        assert_eq!(takings, 5 * (order + 1));
    }
    Ok(())
}
