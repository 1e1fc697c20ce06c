//! Which account is handed out.

use crate::accounts::{Account, RegistryAccounts};

/// The outcome of a choice.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// This account.
    Account(&'a Account),
    /// No account is signed in.
    NoAccount,
    /// The account that is meant was taken out of use by `docker logout`.
    SetAside(&'a Account),
    /// There are several, and none is active.
    Ambiguous,
}

/// Chooses for images of `identities`, most important first: the account that is called so; else the active one; else
/// the only one.
///
/// An identity that is none of the accounts is no obstacle: users pull images of other accounts. An account that is set aside is
/// never handed out, and no other takes its place, lest a push goes out under the wrong name.
#[must_use]
pub fn select<'a>(registry: &'a RegistryAccounts, identities: &[String]) -> Selection<'a> {
    let in_use = |account: &'a Account| {
        if account.set_aside {
            Selection::SetAside(account)
        } else {
            Selection::Account(account)
        }
    };
    if let Some(account) = identities.iter().find_map(|identity| registry.find(identity)) {
        return in_use(account);
    }
    if let Some(account) = registry.active() {
        return in_use(account);
    }
    let mut usable = registry.accounts.values().filter(|account| !account.set_aside);
    match (usable.next(), usable.next()) {
        (Some(account), None) => Selection::Account(account),
        (Some(_), Some(_)) => Selection::Ambiguous,
        (None, _) => registry
            .accounts
            .values()
            .next()
            .map_or(Selection::NoAccount, Selection::SetAside),
    }
}
