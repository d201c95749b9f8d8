//! Which channel belongs to which project, and who may use it.
//!
//! Pure: it knows the configuration and what it is asked, nothing of Discord.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use schemas::ids::{ChannelId, ProjectName, RoleId, UserId};

use crate::attached;
use crate::limits::Limits;
use crate::placement::Terms;

/// The mapped channels.
#[derive(Debug)]
pub(crate) struct Routes {
    projects: Vec<Arc<Project>>,
    by_channel: HashMap<ChannelId, usize>,
}

/// One project as the gateway sees it.
#[derive(Debug)]
pub(crate) struct Project {
    /// Its name, the same in the runners' configuration.
    pub(crate) name: ProjectName,
    /// The channels that belong to it.
    pub(crate) channels: Vec<ChannelId>,
    /// Who may use it.
    pub(crate) allow: Allow,
    /// What it asks of its runners.
    pub(crate) terms: Terms,
    /// What claude may ask of people.
    pub(crate) asking: Asking,
    /// What people may attach.
    pub(crate) files: attached::Terms,
    /// What is limited in it.
    pub(crate) limits: Limits,
}

/// What claude may ask of people.
#[derive(Debug)]
pub(crate) struct Asking {
    /// Whether it may ask at all; else what is outside its allow list is denied.
    pub(crate) is_on: bool,
    /// Who may decide; `None`: whoever may use the project.
    pub(crate) decide: Option<Allow>,
    /// Whether whoever asked the question may not decide.
    pub(crate) not_the_asker: bool,
}

impl Default for Asking {
    fn default() -> Self {
        Self { is_on: true, decide: None, not_the_asker: false }
    }
}

/// Whether somebody may decide what claude asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MayDecide {
    /// They may.
    Yes,
    /// They lack the role, or are not named.
    No,
    /// They asked the question themselves.
    NotTheAsker,
}

impl Project {
    /// Whether what somebody may do here can depend on their roles.
    pub(crate) fn asks_for_roles(&self) -> bool {
        let unsafe_for = self.limits.unsafe_for.as_ref();
        self.allow.asks_for_roles() || unsafe_for.is_some_and(Allow::asks_for_roles)
    }

    /// Whether a person with these roles may decide what claude asks in a run that `asker` asked for.
    pub(crate) fn may_decide(&self, user: UserId, held: &[RoleId], asker: UserId) -> MayDecide {
        let asking = &self.asking;
        if !asking.decide.as_ref().unwrap_or(&self.allow).permits(user, held) {
            MayDecide::No
        } else if asking.not_the_asker && user == asker {
            MayDecide::NotTheAsker
        } else {
            MayDecide::Yes
        }
    }
}

/// Who may use a project.
#[derive(Debug)]
pub(crate) enum Allow {
    /// Whoever can write in its channels.
    Everyone,
    /// Who has one of the roles or is one of the users.
    Only {
        /// Roles.
        roles: BTreeSet<RoleId>,
        /// Users.
        users: BTreeSet<UserId>,
    },
}

impl Routes {
    /// Takes projects that share no channel.
    pub(crate) fn new(projects: Vec<Project>) -> Self {
        let channels = projects.iter().enumerate();
        let by_channel = channels
            .flat_map(|(n, project)| project.channels.iter().map(move |channel| (*channel, n)))
            .collect();
        let projects = projects.into_iter().map(Arc::new).collect();
        Self { projects, by_channel }
    }

    /// The project that a channel belongs to.
    pub(crate) fn project_of(&self, channel: ChannelId) -> Option<&Arc<Project>> {
        self.projects.get(*self.by_channel.get(&channel)?)
    }

    /// Every mapped channel, with its project.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (ChannelId, &Arc<Project>)> {
        self.projects
            .iter()
            .flat_map(|project| project.channels.iter().map(move |channel| (*channel, project)))
    }

    /// Every project.
    pub(crate) fn projects(&self) -> &[Arc<Project>] {
        &self.projects
    }

    /// The project of that name, if it is mapped.
    pub(crate) fn project(&self, name: &ProjectName) -> Option<&Arc<Project>> {
        self.projects.iter().find(|project| project.name == *name)
    }
}

impl Allow {
    /// Whether a person with these roles may use the project.
    pub(crate) fn permits(&self, user: UserId, held: &[RoleId]) -> bool {
        match self {
            Allow::Everyone => true,
            Allow::Only { roles, users } => {
                users.contains(&user) || held.iter().any(|role| roles.contains(role))
            }
        }
    }

    /// Whether the answer can depend on a person's roles.
    pub(crate) fn asks_for_roles(&self) -> bool {
        match self {
            Allow::Everyone => false,
            Allow::Only { roles, .. } => !roles.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_or_a_name_lets_a_person_in() {
        let allow = Allow::Only {
            roles: ["5".parse().unwrap()].into(),
            users: ["9".parse().unwrap()].into(),
        };
        assert!(allow.permits("9".parse().unwrap(), &[]));
        assert!(allow.permits("8".parse().unwrap(), &["5".parse().unwrap()]));
        assert!(!allow.permits("8".parse().unwrap(), &["6".parse().unwrap()]));
        assert!(Allow::Everyone.permits("8".parse().unwrap(), &[]));
    }
}
