//! Presses of buttons, choices in menus, forms handed in: read, and answered at once.
//!
//! Discord waits three seconds for the first answer, so it is given before anything is looked up: a form,
//! where the press opens one, else the word that we think. What is decided is said afterwards, over
//! what was said first.

use schemas::ids::{ChannelId, RoleId};
use schemas::request::Author;
use serenity::all as discord;

use super::{ANSWER_MAX, Result};
use crate::asks::{self, Form};

/// The name of the one input of a form.
const WORDS: &str = "words";

/// A press of a button of ours, a choice in a menu, or a form.
#[derive(Clone, Debug)]
pub(crate) struct Pressed {
    /// The interaction, and the token that lets us answer it.
    pub(crate) id: u64,
    pub(super) token: String,
    /// What Discord calls us there.
    pub(super) application: u64,
    /// Where the message is.
    pub(crate) channel: ChannelId,
    /// Who pressed.
    pub(crate) by: Author,
    /// The person's roles.
    pub(crate) roles: Vec<RoleId>,
    /// Which button, menu or form.
    pub(crate) custom_id: String,
    /// What was chosen in a menu.
    pub(crate) values: Vec<String>,
    /// What was written into a form.
    pub(crate) words: Option<String>,
}

/// Reads an interaction, if it is one of these.
pub(super) fn pressed(interaction: &discord::Interaction) -> Option<Result<Pressed>> {
    if let discord::Interaction::Component(component) = interaction {
        let (member, user) = (component.member.as_ref(), &component.user);
        let kind = &component.data.kind;
        let values = if let discord::ComponentInteractionDataKind::StringSelect { values } = kind {
            values.clone()
        } else {
            Vec::new()
        };
        let read = || {
            Ok(Pressed {
                id: component.id.get(),
                token: component.token.clone(),
                application: component.application_id.get(),
                channel: ChannelId::new(component.channel_id.get())?,
                by: author(member, user)?,
                roles: roles(member)?,
                custom_id: component.data.custom_id.clone(),
                values,
                words: None,
            })
        };
        return Some(read());
    }
    let discord::Interaction::Modal(modal) = interaction else { return None };
    let (member, user) = (modal.member.as_ref(), &modal.user);
    let inputs = modal.data.components.iter().flat_map(|row| &row.components);
    let words = inputs.rev().find_map(|input| {
        let discord::ActionRowComponent::InputText(input) = input else { return None };
        (input.custom_id == WORDS).then(|| input.value.clone().unwrap_or_default())
    });
    let read = || {
        Ok(Pressed {
            id: modal.id.get(),
            token: modal.token.clone(),
            application: modal.application_id.get(),
            channel: ChannelId::new(modal.channel_id.get())?,
            by: author(member, user)?,
            roles: roles(member)?,
            custom_id: modal.data.custom_id.clone(),
            values: Vec::new(),
            words,
        })
    };
    Some(read())
}

fn author(member: Option<&discord::Member>, user: &discord::User) -> Result<Author> {
    let name = member.map_or(user.display_name(), |member| member.display_name());
    Ok(Author { id: schemas::ids::UserId::new(user.id.get())?, name: name.to_owned() })
}

fn roles(member: Option<&discord::Member>) -> Result<Vec<RoleId>> {
    let roles = member.map(|member| member.roles.as_slice()).unwrap_or_default();
    Ok(roles.iter().map(|role| RoleId::new(role.get())).collect::<Result<_, _>>()?)
}

/// Gives a press its first answer. False when there is nothing more to do about it: a form was opened,
/// which comes back by itself.
pub(super) async fn first_answer(http: &discord::Http, pressed: &Pressed) -> bool {
    let form = match &pressed.words {
        Some(_) => None,
        None => asks::form(&pressed.custom_id, &pressed.values),
    };
    let answer = match &form {
        Some(form) => discord::CreateInteractionResponse::Modal(modal(form)),
        None => discord::CreateInteractionResponse::Defer(
            discord::CreateInteractionResponseMessage::new().ephemeral(true),
        ),
    };
    let id = discord::InteractionId::new(pressed.id);
    let answering = http.create_interaction_response(id, &pressed.token, &answer, Vec::new());
    match tokio::time::timeout(ANSWER_MAX, answering).await {
        Ok(Ok(())) => {}
        // Another gateway may have been faster; what was pressed counts all the same.
        Ok(Err(error)) => tracing::debug!(%error, "a press had its first answer already"),
        Err(_) => tracing::warn!("Discord did not take the first answer to a press in time"),
    }
    form.is_none()
}

fn modal(form: &Form) -> discord::CreateModal {
    let style = discord::InputTextStyle::Paragraph;
    let most = u16::try_from(schemas::ask::WORDS_MAX).expect("it is a thousand");
    let input = discord::CreateInputText::new(style, form.label, WORDS);
    let input = input.max_length(most).required(form.required);
    let row = discord::CreateActionRow::InputText(input);
    discord::CreateModal::new(&form.id, form.title).components(vec![row])
}
