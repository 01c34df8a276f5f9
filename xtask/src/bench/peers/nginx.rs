//! nginx's module `stream`, which only moves bytes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::Launch;
use crate::debian;

pub(super) const PROGRAM: debian::Program = debian::Program {
    name: "nginx",
    packages: &["nginx", "libnginx-mod-stream"],
    member: "usr/sbin/nginx",
    home: None,
};

const MODULE: &str = "usr/lib/nginx/modules/ngx_stream_module.so";

pub(super) fn launch(launch: &Launch<'_>) -> Result<Command> {
    let file = launch.folder.join("nginx.conf");
    fs::write(&file, configuration(launch)?)?;
    let mut command = Command::new(launch.program);
    command.args(["-e", "stderr", "-p"]).arg(launch.folder).arg("-c").arg(file);
    Ok(command)
}

fn configuration(launch: &Launch<'_>) -> Result<String> {
    let module = module(launch.program);
    let module = module.display();
    let (port, server) = (launch.listen.port()?, launch.server.port()?);
    let (workers, connections) = (launch.workers, 2 * launch.clients + 64);
    // Without rights it cannot change its user, and need not.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    Ok(format!(
        "{user}daemon off;
load_module {module};
worker_processes {workers};
worker_rlimit_nofile {connections};
pid nginx.pid;
events {{ worker_connections {connections}; }}
stream {{
    server {{
        listen 127.0.0.1:{port} reuseport;
        proxy_pass 127.0.0.1:{server};
        proxy_timeout 1h;
        tcp_nodelay on;
    }}
}}
"
    ))
}

/// Beside the unpacked program, or where the system has it.
fn module(program: &Path) -> PathBuf {
    let unpacked = program.with_file_name(MODULE);
    if unpacked.is_file() { unpacked } else { Path::new("/").join(MODULE) }
}
