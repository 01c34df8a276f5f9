//! Looks at every state that can be reached.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::model::{Action, State};
use crate::properties;
use crate::setting::Setting;

/// What was found.
#[derive(Debug)]
pub struct Outcome {
    /// How many states can be reached.
    pub states: usize,
    /// By property: how it can be broken.
    pub broken: BTreeMap<&'static str, Vec<Action>>,
    /// What was seen to be possible.
    pub seen: Vec<&'static str>,
}

/// Looks at all states of a setting.
pub fn explore(setting: Setting) -> Outcome {
    outcome(setting, HasDiscoveries::All)
}

/// Looks for a way to break a property, and at no more than it takes to find one.
pub fn refute(setting: Setting, property: &'static str) -> Option<Vec<Action>> {
    let found = HasDiscoveries::AllOf([property].into_iter().collect());
    outcome(setting, found).broken.remove(property)
}

fn outcome(setting: Setting, until: HasDiscoveries) -> Outcome {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = setting.checker().threads(threads).finish_when(until).spawn_bfs().join();
    let is_sight = |name: &str| {
        let found = properties::all().into_iter().find(|property| property.name == name);
        found.is_some_and(|property| property.expectation == Expectation::Sometimes)
    };
    let discoveries = checker.discoveries().into_iter();
    let (seen, broken): (HashMap<_, _>, HashMap<_, _>) = discoveries.partition(|(name, _)| is_sight(name));
    Outcome {
        states: checker.unique_state_count(),
        broken: broken.into_iter().map(|(name, path)| (name, path.into_actions())).collect(),
        seen: seen.into_keys().collect(),
    }
}

/// Looks for a way to go round in circles that passes such a state. If there is none once all scripts are over, every run
/// ends, whatever its schedule; and that runs end well, [`explore`] tells.
pub fn circle(setting: &Setting, passes: impl Fn(&State) -> bool) -> Option<State> {
    /// Where a state stands in a walk that goes as deep as it can before it turns back.
    enum Mark {
        OnTheWay,
        Done,
    }
    let hasher = RandomState::new();
    let mut marks: HashMap<u64, Mark> = HashMap::new();
    let mut walk: Vec<(u64, Vec<State>)> = vec![(0, setting.init_states())];
    while let Some((state, todo)) = walk.last_mut() {
        let Some(next) = todo.pop() else {
            marks.insert(*state, Mark::Done);
            walk.pop();
            continue;
        };
        let mark = hasher.hash_one(&next);
        match marks.get(&mark) {
            Some(Mark::OnTheWay) if passes(&next) => return Some(next),
            Some(_) => {}
            None => {
                marks.insert(mark, Mark::OnTheWay);
                walk.push((mark, setting.next_states(&next)));
            }
        }
    }
    None
}
