//! Checks and groups as the samples' tags name them, in the order of their first appearance.

use std::collections::HashMap;

use super::{CheckSummary, GroupSummary};
use crate::load::metrics::TagSet;

/// Place of a check in its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckIndex(usize);

#[derive(Debug, Default)]
pub struct Checks {
    /// Group path, name, passes, fails.
    checks: Vec<(String, String, u64, u64)>,
    by_name: HashMap<(String, String), usize>,
    /// Paths of groups without the root, in order.
    groups: Vec<String>,
}

impl Checks {
    /// The check that a sample of `checks` with these tags counts in.
    pub fn index(&mut self, tags: &TagSet) -> CheckIndex {
        let text = |name| tags.get(name).map_or(String::new(), |tag| tag.to_string());
        let key = (text("group"), text("check"));
        if let Some(index) = self.by_name.get(&key) {
            return CheckIndex(*index);
        }
        self.see_group(&key.0);
        let index = self.checks.len();
        self.checks.push((key.0.clone(), key.1.clone(), 0, 0));
        self.by_name.insert(key, index);
        CheckIndex(index)
    }

    pub fn count(&mut self, check: CheckIndex, passed: bool) {
        let (_, _, passes, fails) = &mut self.checks[check.0];
        *(if passed { passes } else { fails }) += 1;
    }

    /// Notes that a group was entered.
    pub fn see_group(&mut self, path: &str) {
        // Runs have a handful of groups, so a walk is cheaper than a map.
        if !path.is_empty() && !self.groups.iter().any(|known| known == path) {
            self.groups.push(path.to_owned());
        }
    }

    /// The tree of groups with their checks.
    pub fn root(&self) -> GroupSummary {
        let mut root = GroupSummary::default();
        for path in &self.groups {
            group_at(&mut root, path);
        }
        for (group, name, passes, fails) in &self.checks {
            group_at(&mut root, group).checks.push(CheckSummary {
                name: name.clone(),
                path: format!("{group}::{name}"),
                passes: *passes,
                fails: *fails,
            });
        }
        root
    }
}

fn group_at<'g>(root: &'g mut GroupSummary, path: &str) -> &'g mut GroupSummary {
    let mut group = root;
    for name in path.split("::").skip(1) {
        let index = match group.groups.iter().position(|g| g.name == name) {
            Some(index) => index,
            None => {
                let path = format!("{}::{name}", group.path);
                group.groups.push(GroupSummary {
                    name: name.to_owned(),
                    path,
                    ..GroupSummary::default()
                });
                group.groups.len() - 1
            }
        };
        group = &mut group.groups[index];
    }
    group
}
