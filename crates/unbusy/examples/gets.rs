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
                    // A time-out costs a timer per command; unbusy sets none, so like is compared with like.
                    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
                    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                    asynchronous(&mut connection, count).await
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
    for _ in 0..count {
        let _: Option<String> = redis::cmd("GET").arg("k").query_async(connection).await?;
    }
    Ok(())
}
