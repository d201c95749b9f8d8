//! Interactions: buttons pressed, menus used, modals handed in, and the bot's first answer.
//!
//! The bot has a few seconds for its first answer, by the guild's clock; then the person sees
//! that the interaction failed, and an answer is refused. What follows the first answer is in
//! `webhook`.

use serde_json::Value;

use super::{BOT_ID, Guild, Private};
use crate::error::ApiError;
use crate::events::Event;
use crate::form::components::{self, kind};
use crate::form::{check_draft, modals};
use crate::ids::{ChannelId, InteractionId, MessageId, RoleId, UserId};
use crate::model::{
    Callback, Change, Draft, Interaction, InteractionKind, Message, Modal, Outcome, Reference,
};
use crate::permissions::Permissions;

/// How long an interaction's token is good (Discord, "Receiving and Responding").
pub(super) const TOKEN_LIFE_MS: u64 = 15 * 60 * 1000;

/// The bot's first answer, with what is in it.
#[derive(Clone, Debug)]
pub(crate) enum FirstAnswer {
    /// A message; for the person alone if its flags say so.
    Message(Draft),
    /// A message to come, with its flags.
    Deferred(u64),
    /// An edit to come.
    DeferredUpdate,
    /// An edit of the message that the component is on.
    Update(Change),
    /// A modal.
    Modal(Modal),
}

impl FirstAnswer {
    fn callback(&self) -> Callback {
        match self {
            Self::Message(_) => Callback::Message,
            Self::Deferred(_) => Callback::Deferred,
            Self::DeferredUpdate => Callback::DeferredUpdate,
            Self::Update(_) => Callback::Update,
            Self::Modal(_) => Callback::Modal,
        }
    }
}

/// What is seen of interactions.
impl Guild {
    /// All interactions, oldest first.
    pub fn interactions(&self) -> impl DoubleEndedIterator<Item = &Interaction> {
        self.interactions.values()
    }

    /// An interaction by number.
    pub fn interaction(&self, id: InteractionId) -> Option<&Interaction> {
        self.interactions.get(&id)
    }

    /// The messages that an interaction led to and that its person still sees, oldest first;
    /// those that only this person sees among them.
    pub fn answers_to(&self, id: InteractionId) -> impl Iterator<Item = &Message> {
        let own = self.interaction(id).into_iter();
        let ids = own.flat_map(|it| it.original.iter().chain(&it.follow_ups));
        ids.filter_map(|it| self.any_message(*it)).filter(|it| it.is_visible())
    }

    /// The messages of a channel that only `user` sees, oldest first.
    pub fn private_messages(
        &self,
        channel: ChannelId,
        user: UserId,
    ) -> impl Iterator<Item = &Message> {
        let own = self.private.values().filter(move |it| it.to == user);
        let here = own.map(|it| &it.message).filter(move |it| it.channel == channel);
        here.filter(|it| it.is_visible())
    }

    /// A message by number, also one that is in no history.
    pub(crate) fn any_message(&self, id: MessageId) -> Option<&Message> {
        self.message(id).or_else(|| self.private.get(&id).map(|it| &it.message))
    }

    /// A message that this person sees.
    fn seen_by(&self, user: UserId, id: MessageId) -> Result<&Message, ApiError> {
        let message = match self.private.get(&id) {
            Some(private) if private.to == user => &private.message,
            Some(_) => return Err(ApiError::UnknownMessage),
            None => self.message(id).ok_or(ApiError::UnknownMessage)?,
        };
        self.require(user, message.channel, Permissions::VIEW_CHANNEL)?;
        if message.is_visible() { Ok(message) } else { Err(ApiError::UnknownMessage) }
    }
}

/// What a person does.
impl Guild {
    /// Presses a button.
    pub(crate) fn press(
        &mut self,
        user: UserId,
        message: MessageId,
        custom_id: &str,
    ) -> Result<InteractionId, ApiError> {
        let (channel, button) = self.component(user, message, custom_id)?;
        if button["type"] != kind::BUTTON {
            return Err(ApiError::bad_component());
        }
        let place = (channel, message);
        let pressed = self.blank_interaction(InteractionKind::Press, user, place, custom_id);
        self.begin(pressed)
    }

    /// Presses what is not there: any name, on any message there ever was, from any channel that there is.
    /// Discord never sends the like; whoever stands in its place might.
    pub(crate) fn forge(
        &mut self,
        user: UserId,
        place: (ChannelId, MessageId),
        custom_id: &str,
    ) -> Result<InteractionId, ApiError> {
        // A press says what it is on, whole.
        self.any_message(place.1).ok_or(ApiError::UnknownMessage)?;
        let forged = self.blank_interaction(InteractionKind::Press, user, place, custom_id);
        self.begin(forged)
    }

    /// Chooses in a select menu.
    pub(crate) fn select(
        &mut self,
        user: UserId,
        message: MessageId,
        custom_id: &str,
        values: &[&str],
    ) -> Result<InteractionId, ApiError> {
        let (channel, select) = self.component(user, message, custom_id)?;
        let is_select = select["type"] != kind::BUTTON;
        let mut distinct = values.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let whole = distinct.len() == values.len() && components::takes(select, values.len());
        if !is_select || !whole || !values.iter().all(|it| self.offers(select, it)) {
            return Err(ApiError::bad_component());
        }
        let place = (channel, message);
        let mut chosen = self.blank_interaction(InteractionKind::Select, user, place, custom_id);
        chosen.values = values.iter().map(|&it| it.to_owned()).collect();
        self.begin(chosen)
    }

    /// Hands in the modal that was the answer to `from`.
    pub(crate) fn submit(
        &mut self,
        from: InteractionId,
        texts: &[(&str, &str)],
    ) -> Result<InteractionId, ApiError> {
        let shown = self.open_modal(from)?;
        let (user, place) = (shown.user, (shown.channel, shown.message));
        let modal = shown.modal.as_ref().ok_or(ApiError::UnknownInteraction)?;
        let (custom_id, fields) = (modal.custom_id.clone(), modals::fill(modal, texts)?);
        let mut submitted =
            self.blank_interaction(InteractionKind::Submit, user, place, &custom_id);
        submitted.fields = fields;
        submitted.from = Some(from);
        let id = self.begin(submitted)?;
        self.close_modal(from)?;
        Ok(id)
    }

    /// Closes a modal without a word to the bot.
    pub(crate) fn close_modal(&mut self, from: InteractionId) -> Result<(), ApiError> {
        self.open_modal(from)?;
        if let Some(shown) = self.interactions.get_mut(&from) {
            shown.modal_is_open = false;
        }
        Ok(())
    }

    fn open_modal(&self, from: InteractionId) -> Result<&Interaction, ApiError> {
        let shown = self.interaction(from).filter(|it| it.modal_is_open);
        shown.ok_or(ApiError::UnknownInteraction)
    }

    /// A component of the bot's that this person sees and can use, and the channel it is in.
    fn component(
        &self,
        user: UserId,
        message: MessageId,
        custom_id: &str,
    ) -> Result<(ChannelId, &Value), ApiError> {
        let message = self.seen_by(user, message)?;
        let own = message.author == BOT_ID;
        let found = components::find(&message.components, custom_id).filter(|_| own);
        found.map(|it| (message.channel, it)).ok_or_else(ApiError::bad_component)
    }

    /// Whether a select menu has this value; those of people, roles and channels have all.
    fn offers(&self, select: &Value, value: &str) -> bool {
        let user = || value.parse().is_ok_and(|it: UserId| self.user(it).is_some());
        let role = || value.parse().is_ok_and(|it: RoleId| self.roles.contains_key(&it));
        let channel = || value.parse().is_ok_and(|it: ChannelId| self.channel(it).is_ok());
        match select["type"].as_u64() {
            Some(kind::STRING_SELECT) => components::offers(select, value),
            Some(kind::USER_SELECT) => user(),
            Some(kind::ROLE_SELECT) => role(),
            Some(kind::MENTIONABLE_SELECT) => user() || role(),
            Some(kind::CHANNEL_SELECT) => channel(),
            Some(_) | None => false,
        }
    }

    fn blank_interaction(
        &mut self,
        kind: InteractionKind,
        user: UserId,
        (channel, message): (ChannelId, MessageId),
        custom_id: &str,
    ) -> Interaction {
        let id = InteractionId(self.next_id());
        Interaction {
            id,
            kind,
            user,
            channel,
            message,
            custom_id: custom_id.to_owned(),
            values: Vec::new(),
            fields: Vec::new(),
            from: None,
            token: token_of(id),
            created_ms: self.now_ms,
            callback: None,
            outcome: Outcome::Waiting,
            original: None,
            follow_ups: Vec::new(),
            modal: None,
            modal_is_open: false,
        }
    }

    fn begin(&mut self, interaction: Interaction) -> Result<InteractionId, ApiError> {
        self.channel(interaction.channel)?;
        let id = interaction.id;
        let event = Event::interaction(self, &interaction);
        self.interactions.insert(id, interaction);
        self.events.push(event);
        Ok(id)
    }
}

/// A token that looks like one of Discord's: long, and no number by itself.
fn token_of(id: InteractionId) -> String {
    // Odd, so that no two ids share their product.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    format!("aW50ZXJhY3Rpb246{:016x}{:016x}", id.0, id.0.wrapping_mul(MIX))
}

/// What the bot answers first.
impl Guild {
    /// Refuses a first answer that is not the first, or too late, whatever it says.
    pub(crate) fn check_answerable(&self, id: InteractionId, token: &str) -> Result<(), ApiError> {
        let asked = self.interaction(id).ok_or(ApiError::UnknownInteraction)?;
        if asked.token != token {
            return Err(ApiError::InvalidWebhookToken);
        }
        match (asked.callback, asked.outcome) {
            (Some(_), _) => Err(ApiError::AlreadyAcknowledged),
            (None, Outcome::Failed) => Err(ApiError::UnknownInteraction),
            (None, Outcome::Waiting | Outcome::Thinking | Outcome::Answered) => Ok(()),
        }
    }

    /// Takes the bot's first answer, once and in time.
    pub(crate) fn answer(
        &mut self,
        id: InteractionId,
        token: &str,
        answer: FirstAnswer,
    ) -> Result<(), ApiError> {
        self.check_answerable(id, token)?;
        let asked = self.interaction(id).ok_or(ApiError::UnknownInteraction)?;
        let again = asked.kind == InteractionKind::Submit;
        if again && answer.callback() == Callback::Modal {
            return Err(ApiError::bad_value("type", "A modal cannot answer a modal."));
        }
        let (message, channel) = (asked.message, asked.channel);
        let callback = answer.callback();
        let (mut original, mut modal, mut outcome) = (None, None, Outcome::Answered);
        match answer {
            FirstAnswer::Message(draft) => {
                check_draft(&draft, true)?;
                original = Some(self.add_answer(id, draft, Some(message))?);
            }
            FirstAnswer::Deferred(flags) => {
                let flags = flags & Message::EPHEMERAL | Message::LOADING;
                let draft = Draft { flags, ..Draft::default() };
                original = Some(self.add_answer(id, draft, Some(message))?);
                outcome = Outcome::Thinking;
            }
            FirstAnswer::DeferredUpdate => {
                self.channel(channel)?;
            }
            FirstAnswer::Update(change) => self.edit_any(message, change)?,
            FirstAnswer::Modal(shown) => modal = Some(shown),
        }
        if let Some(asked) = self.interactions.get_mut(&id) {
            asked.callback = Some(callback);
            asked.outcome = outcome;
            asked.original = original;
            asked.modal_is_open = modal.is_some();
            asked.modal = modal;
        }
        Ok(())
    }

    /// Adds a message that an interaction led to, for all or for its person alone.
    pub(super) fn add_answer(
        &mut self,
        id: InteractionId,
        draft: Draft,
        to: Option<MessageId>,
    ) -> Result<MessageId, ApiError> {
        let asked = self.interaction(id).ok_or(ApiError::UnknownInteraction)?;
        let (user, channel) = (asked.user, asked.channel);
        self.channel(channel)?;
        let private = draft.flags & Message::EPHEMERAL != 0;
        if !private {
            let may = self.permissions(BOT_ID, channel)?.contains(Permissions::MANAGE_THREADS);
            self.open_thread_for_message(channel, may)?;
        }
        let reference = to.map(|it| Reference { channel, message: Some(it) });
        // A nonce stands for nothing here: Discord looks at it only when a message is created.
        let draft = Draft { nonce: None, enforce_nonce: false, ..draft };
        let mut message = self.compose(BOT_ID, channel, draft, reference);
        message.interaction = Some(id);
        if !private {
            return Ok(self.insert_message(message));
        }
        let id = message.id;
        self.private.insert(id, Private { to: user, message });
        Ok(id)
    }

    /// Edits a message of the bot's, in history or not.
    pub(super) fn edit_any(&mut self, id: MessageId, change: Change) -> Result<(), ApiError> {
        let Some(private) = self.private.get(&id) else {
            let channel = self.message(id).ok_or(ApiError::UnknownMessage)?.channel;
            return self.edit(BOT_ID, channel, id, change);
        };
        if !private.message.is_visible() {
            return Err(ApiError::UnknownMessage);
        }
        let new = self.changed(&private.message, change)?;
        if let Some(private) = self.private.get_mut(&id) {
            private.message = new;
        }
        Ok(())
    }

    /// Lets those interactions fail whose time is over. A modal whose submission failed is open
    /// again, as at Discord.
    pub(crate) fn settle(&mut self) {
        let (now_ms, window_ms) = (self.now_ms, self.interaction_window_ms);
        let mut reopened = Vec::new();
        for asked in self.interactions.values_mut() {
            if deadline_ms(asked, window_ms).is_some_and(|it| it <= now_ms) {
                asked.outcome = Outcome::Failed;
                reopened.extend(asked.from.filter(|_| asked.callback.is_none()));
            }
        }
        for from in reopened {
            if let Some(shown) = self.interactions.get_mut(&from) {
                shown.modal_is_open = true;
            }
        }
    }

    /// When the next interaction fails, unless it is answered.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        let all = self.interactions.values();
        all.filter_map(|it| deadline_ms(it, self.interaction_window_ms)).min()
    }
}

fn deadline_ms(asked: &Interaction, window_ms: u64) -> Option<u64> {
    match asked.outcome {
        Outcome::Waiting => Some(asked.created_ms + window_ms),
        Outcome::Thinking => Some(asked.created_ms + TOKEN_LIFE_MS),
        Outcome::Answered | Outcome::Failed => None,
    }
}
