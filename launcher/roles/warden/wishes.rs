//! Starts what was wished for while the instance before was going down.

use crate::deadline::Deadline;
use crate::roles::look::Look;
use crate::roles::press::Press;
use mc_launcher_core::start::ec2_error::StartError;
use mc_launcher_core::start::outcome::{Outcome, PressRefusal};
use mc_launcher_core::start::wish::{self, Fate, Wish};
use mc_players::{Allow, Name, Uuid};

use super::{CALL, LOOKS, Round};

impl Round<'_> {
    /// Starts what was asked for while the instance before was going down.
    pub(super) async fn serve_wish(&mut self, seen: &Look) {
        let parameters = self.role.parameters();
        let wish = match &seen.wanted {
            Ok(wish) => wish.clone(),
            Err(why) => {
                self.failures.push(format!("cannot read whether a start is wanted: {why}"));
                return;
            }
        };
        let Some(wish) = wish else { return };
        // What cannot be read now may be in time.
        let Ok(allowed) = self.may_wish(&wish).await else { return };
        let instances = seen.seen.instances.as_ref().map(Vec::as_slice).map_err(String::as_str);
        match wish::fate(&wish, instances, allowed, seen.at) {
            Fate::Waits => {}
            fate => {
                let deadline = Deadline::after(CALL);
                // First, so that it is served once.
                if let Err(why) = parameters.put("wanted", wish::text(None), deadline).await {
                    self.failures.push(format!("cannot note that a start was served: {why}"));
                    return;
                }
                if fate == Fate::Serve {
                    self.start(&wish, seen).await;
                }
            }
        }
    }

    async fn may_wish(&self, wish: &Wish) -> Result<bool, String> {
        let Some(player) = &wish.by else { return Ok(true) };
        let (Some(name), Some(uuid)) = (Name::parse(&player.name), Uuid::parse(&player.uuid)) else { return Ok(false) };
        match self.role.parameters().get("allow", Deadline::after(CALL)).await? {
            None => Ok(true),
            Some(list) => Ok(Allow::parse(&list.value)?.permits(&name, &uuid)),
        }
    }

    /// The next look, which EC2's event brings, tells of it: when it was launched is EC2's to say, and another time would be another
    /// evening.
    async fn start(&mut self, wish: &Wish, seen: &Look) {
        let role = self.role;
        let deadline = Deadline::after(LOOKS);
        let press = Press { aws: &role.aws, settings: &role.settings, by: wish.by.as_ref(), deadline };
        let outcome = press.start(seen).await;
        (self.log)(&format!("start that was waited for: {}", outcome.in_words()));
        // EC2 has started nothing, and soon will: the next look tries again, for as long as the wish lives.
        if matches!(outcome, Outcome::Refused(PressRefusal::Ec2(StartError::SpotNotReady | StartError::Throttled))) {
            let kept = role.parameters().put("wanted", wish::text(Some(wish)), Deadline::after(CALL)).await;
            if kept.is_ok() {
                return;
            }
        }
        if let Some(notice) = outcome.notice() {
            let notice = format!("{}: {notice}", role.settings.server);
            self.add(&notice, seen.at);
            self.notices.push(notice);
        }
    }
}
