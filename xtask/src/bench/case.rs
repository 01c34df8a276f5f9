//! What is measured.

/// One shape of load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) clients: u32,
    pub(super) pipeline: u32,
    pub(super) value_bytes: u32,
    pub(super) sockets: Sockets,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sockets {
    Tcp,
    /// Of those proxies that can; see `peers::Unix`.
    Unix,
}

const SMALL: u32 = 3;

pub(super) const CASES: [Case; 6] = [
    Case { name: "c50 P1", clients: 50, pipeline: 1, value_bytes: SMALL, sockets: Sockets::Tcp },
    Case { name: "c50 P16", clients: 50, pipeline: 16, value_bytes: SMALL, sockets: Sockets::Tcp },
    Case { name: "c500 P1", clients: 500, pipeline: 1, value_bytes: SMALL, sockets: Sockets::Tcp },
    Case { name: "c50 P1 16 KiB", clients: 50, pipeline: 1, value_bytes: 16_384, sockets: Sockets::Tcp },
    Case { name: "c1 P1", clients: 1, pipeline: 1, value_bytes: SMALL, sockets: Sockets::Tcp },
    Case { name: "c50 P1 unix", clients: 50, pipeline: 1, value_bytes: SMALL, sockets: Sockets::Unix },
];

impl Case {
    /// What this case makes of the number that was asked for, so that all take about as long.
    pub(super) const fn commands(self, asked: u32) -> u32 {
        match self {
            Self { pipeline: 2.., .. } => asked.saturating_mul(10),
            Self { value_bytes: 4096.., .. } => asked / 2,
            Self { clients: 1, .. } => asked / 4,
            _ => asked,
        }
    }

    /// With a single client it is told how long a round trip takes.
    pub(super) const fn tells_round_trip(self) -> bool {
        self.clients == 1
    }

    /// The options of redis-benchmark that make it.
    pub(super) fn options(self) -> Vec<String> {
        let Self { clients, pipeline, value_bytes, .. } = self;
        let size = if value_bytes == SMALL { String::new() } else { format!(" -d {value_bytes}") };
        let options = format!("-c {clients} -P {pipeline}{size}");
        options.split(' ').map(str::to_owned).collect()
    }

    /// As a heading.
    pub(super) fn title(self) -> String {
        let options = self.options().join(" ");
        match self.sockets {
            Sockets::Tcp => format!("`{options}`"),
            Sockets::Unix => format!("`{options}` over unix sockets"),
        }
    }
}
