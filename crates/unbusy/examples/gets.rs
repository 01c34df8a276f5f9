//! Sends GETs one after another: the load for counting what the wrapper costs.
//!
//! `gets bare|unbusy blocking|async COUNT URL`
use redis::{Commands, RedisResult};

fn main() -> RedisResult<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [which, how, count, url] = &words[..] else { panic!("gets bare|unbusy blocking|async COUNT URL") };
    let count: usize = count.parse().expect("a number");
    match (which.as_str(), how.as_str()) {
        ("bare", "blocking") => blocking(&mut redis::Client::open(url.as_str())?.get_connection()?, count),
        ("unbusy", "blocking") => blocking(&mut unbusy::Client::open(url.as_str())?.get_connection()?, count),
        (which, _) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                if which == "bare" {
                    let client = redis::Client::open(url.as_str())?;
                    asynchronous(&mut client.get_multiplexed_async_connection().await?, count).await
                } else {
                    let client = unbusy::Client::open(url.as_str())?;
                    asynchronous(&mut client.get_multiplexed_async_connection().await?, count).await
                }
            })
        }
    }
}

fn blocking(connection: &mut impl redis::ConnectionLike, count: usize) -> RedisResult<()> {
    for _ in 0..count {
        let _: Option<String> = connection.get("k")?;
    }
    Ok(())
}

async fn asynchronous(connection: &mut impl redis::aio::ConnectionLike, count: usize) -> RedisResult<()> {
    // The futures are too large for the allocator's fast lists. What holes connecting left in the heap is luck, and costs
    // hundreds of instructions per command, so they are filled first.
    let filling: Vec<Vec<u8>> = (1..64).map(|n| Vec::with_capacity(64 * n)).collect();
    for _ in 0..count {
        let _: Option<String> = redis::cmd("GET").arg("k").query_async(connection).await?;
    }
    drop(filling);
    Ok(())
}
