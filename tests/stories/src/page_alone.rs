//! The page of the simulated Discord by itself, in a headless Chromium: whatever a bot can show is shown, as
//! it changes, to whom may see it. What our bot does with it is in `page`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::discord_sim::{BOT_ID, ChannelId, Discord, Draft, Options, Permissions, Sim, UserId};
use harness::{Browser, Tab};
use serde_json::{Value, json};

/// How long a bot has for its first answer here: nobody answers, and time is moved forward.
const WINDOW: Duration = Duration::from_secs(600);

/// A Discord with a channel, and alice in a window of hers.
struct Place {
    sim: Sim,
    browser: Browser,
    discord: Discord,
    general: ChannelId,
    alice: UserId,
}

impl Place {
    async fn new() -> Result<Self> {
        let options =
            Options { rate_limits: false, interaction_window: WINDOW, ..Options::default() };
        let sim = Sim::start(options).await?;
        let discord = sim.discord();
        let (general, alice) = (discord.channel("general"), discord.user("alice"));
        Ok(Self { sim, browser: Browser::start().await?, discord, general, alice })
    }

    async fn window(&self, who: &str) -> Result<Tab<'_>> {
        let tab = self.browser.open(&format!("{}?as={who}", self.sim.page_url)).await?;
        tab.shows("live").await?;
        Ok(tab)
    }

    /// What the bot posts.
    fn post(&self, content: &str, embeds: Vec<Value>, components: Vec<Value>) -> Result<()> {
        let draft = Draft { content: content.to_owned(), embeds, components, ..Draft::default() };
        self.discord.post(self.general, BOT_ID, draft)?;
        Ok(())
    }
}

/// Waits for each of what selectors name.
async fn has(tab: &Tab<'_>, selectors: &[&str]) -> Result<()> {
    for selector in selectors {
        tab.has(selector).await?;
    }
    Ok(())
}

/// All that was pressed, once something was.
async fn pressed(place: &Place) -> Result<Vec<String>> {
    let pressed = place.discord.wait_for("a press", WINDOW, |view| {
        let all: Vec<_> = view.guild.interactions().map(|it| it.custom_id.clone()).collect();
        (!all.is_empty()).then_some(all)
    });
    Ok(pressed.await?)
}

const MARKDOWN: &str = "# Title
Some **bold**, *slanted*, __under__, ~~gone~~ and ||hidden|| words, `a * b * c`, snake_case_name.
> quoted *words*
- one
  - deeper
- two
1. first
-# small print
[a page](https://example.org/a) and <https://example.org/b>, @everyone
```rust
let x = \"**not bold**\";
```
an unclosed ``` fence";

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_shown_as_discord_shows_it_and_nothing_in_it_is_run() -> Result<()> {
    let place = Place::new().await?;
    let tab = place.window("alice").await?;
    place.post(MARKDOWN, Vec::new(), Vec::new())?;
    has(
        &tab,
        &[
            ".text h3",
            ".text strong",
            ".text em",
            ".text u",
            ".text s",
            ".text details.spoiler",
            ".text blockquote em",
            ".text ul > li > ul > li",
            ".text ol > li",
            ".text small",
            ".text a[href='https://example.org/a']",
            ".text a[href='https://example.org/b']",
            "pre[data-language=rust]",
        ],
    )
    .await?;
    for words in
        ["a * b * c", "snake_case_name", "let x = \"**not bold**\";", "an unclosed ``` fence"]
    {
        tab.shows(words).await?;
    }
    let hostile =
        "<img src=x onerror=\"document.title='run'\"> [x](javascript:alert(1)) \u{202e}rtl";
    place.post(hostile, Vec::new(), Vec::new())?;
    tab.shows("<img src=x").await?;
    tab.shows("[x](javascript:alert(1))").await?;
    assert_eq!(tab.evaluate("document.title").await?, json!("discord-sim"));
    let alice = place.alice;
    let seconds = 951_827_696;
    place.post(&format!("<@{alice}> in <#{}> <t:{seconds}:D>", place.general), vec![], vec![])?;
    tab.shows("@alice in #general 29 February 2000").await
}

#[tokio::test(flavor = "multi_thread")]
async fn embeds_buttons_and_menus_are_shown_and_used() -> Result<()> {
    let place = Place::new().await?;
    let tab = place.window("alice").await?;
    let embed = json!({
        "title": "A title", "description": "with **weight**", "color": 0x00ff_0000,
        "fields": [{ "name": "Left", "value": "`1`", "inline": true }],
        "footer": { "text": "at the foot" },
    });
    let button = |style: u8, label: &str, disabled: bool| json!({ "type": 2, "style": style, "label": label, "custom_id": label, "disabled": disabled });
    let link = json!({ "type": 2, "style": 5, "label": "Docs", "url": "https://example.org" });
    let emoji = json!({ "type": 2, "style": 2, "emoji": { "name": "🛑" }, "custom_id": "halt" });
    let options = ["Red", "Blue", "Grey"].map(|it| json!({ "label": it, "value": it }));
    let menu = |id: &str, title: &str, max: u8| json!({ "type": 3, "custom_id": id, "placeholder": title, "max_values": max, "options": options });
    let row = |all: Vec<Value>| json!({ "type": 1, "components": all });
    let named = ["One", "Two", "Three", "Four"].into_iter().zip(1..);
    let mut styled: Vec<_> = named.map(|(label, style)| button(style, label, false)).collect();
    styled.push(link);
    let rows = vec![
        row(styled),
        row(vec![emoji, button(1, "Old", true)]),
        row(vec![menu("one", "A colour", 1)]),
        row(vec![menu("some", "Colours", 2)]),
    ];
    place.post("look", vec![embed], rows)?;
    has(&tab, &[".embed strong", ".embed dl code", "button.style4"]).await?;
    tab.shows("at the foot").await?;
    for (role, name, count) in
        [("button", "One", 1), ("button", "🛑", 1), ("button", "Old", 0), ("link", "Docs ↗", 1)]
    {
        assert_eq!(tab.count(role, name).await?, count, "{name}");
    }
    tab.click("button", "🛑").await?;
    tab.choose("A colour", "Blue").await?;
    tab.click("checkbox", "Red").await?;
    tab.click("checkbox", "Grey").await?;
    tab.click("button", "Choose").await?;
    let used = place.discord.wait_for("three uses", WINDOW, |view| {
        let all = view.guild.interactions().map(|it| (it.custom_id.clone(), it.values.clone()));
        let all: Vec<_> = all.collect();
        (all.len() == 3).then_some(all)
    });
    let of = |id: &str, values: &[&str]| {
        (id.to_owned(), values.iter().map(|&it| it.to_owned()).collect::<Vec<_>>())
    };
    let expected = [of("halt", &[]), of("one", &["Blue"]), of("some", &["Red", "Grey"])];
    assert_eq!(used.await?, expected);
    place.discord.advance(WINDOW);
    tab.shows("This interaction failed").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_counts_though_what_is_pressed_is_drawn_anew_meanwhile() -> Result<()> {
    let place = Place::new().await?;
    let tab = place.window("alice").await?;
    let buttons = ["Yes", "No"]
        .map(|label| json!({ "type": 2, "style": 1, "label": label, "custom_id": label }));
    place.post("before", vec![], vec![json!({ "type": 1, "components": buttons })])?;
    tab.has("[data-custom-id=Yes]").await?;
    let posted =
        place.discord.view(|view| view.guild.messages(place.general).next().map(|it| it.id));
    let posted = posted.context("nothing is posted")?;
    let drawn_anew = async {
        place.discord.edit(posted, "after, of the same height")?;
        tab.shows("(edited)").await
    };
    tab.hold("button", "Yes", drawn_anew).await?;
    assert_eq!(pressed(&place).await?, ["Yes"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_does_not_hit_what_comes_under_the_mouse() -> Result<()> {
    let place = Place::new().await?;
    let tab = place.window("alice").await?;
    let rows = ["Yes", "No"].map(|label| {
        let button = json!({ "type": 2, "style": 1, "label": label, "custom_id": label });
        json!({ "type": 1, "components": [button] })
    });
    place.post("before", vec![], rows.to_vec())?;
    tab.has("[data-custom-id=No]").await?;
    // Once, the one comes to where the mouse is about to press the other.
    let shift = "const at = (id) => document.querySelector(`[data-custom-id=${id}]`);
        const by = at('No').getBoundingClientRect().top - at('Yes').getBoundingClientRect().top;
        const down = () => { document.querySelector('#messages').style.transform = `translateY(${by}px)`; };
        document.addEventListener('mousemove', down, { once: true });";
    tab.evaluate(&format!("{{ {shift} }}")).await?;
    tab.click("button", "No").await?;
    assert_eq!(pressed(&place).await?, ["No"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_shown_to_all_who_look_and_only_to_them() -> Result<()> {
    let place = Place::new().await?;
    let Place { discord, general, alice, .. } = &place;
    let bob = discord.user_with_roles("bob", &["dev"]);
    let (hers, his) = (place.window("alice").await?, place.window("bob").await?);
    his.holds("his role", "document.querySelector('#user').innerText.includes('bob (dev)')")
        .await?;
    hers.write("Message", "frist").await?;
    hers.enter().await?;
    his.shows("frist").await?;
    let said = discord.wait_for("it", WINDOW, |view| view.guild.messages(*general).next().cloned());
    let said = said.await?.id;
    discord.edit(said, "first")?;
    for tab in [&hers, &his] {
        tab.shows("first").await?;
        tab.shows("(edited)").await?;
    }
    his.choose("React", "👍").await?;
    hers.has(".reaction[aria-pressed=false]").await?;
    his.click("button", "👍 1").await?;
    hers.holds("no reaction", "!document.querySelector('.reaction')").await?;
    discord.reply(*general, bob, said, "and the second")?;
    hers.holds("a quote", "document.querySelector('.quote')?.innerText === '↱ alice: first'")
        .await?;
    discord.start_typing(*general, bob)?;
    hers.shows("bob is typing…").await?;
    let thread = discord.start_thread(said, *alice, "a thread")?;
    his.click("button", "↳ a thread").await?;
    his.shows("first").await?;
    discord.rename(thread, *alice, "✅ done")?;
    his.shows("↳ ✅ done").await?;
    hers.click("button", "✅ done ›").await?;
    hers.click("button", "lock").await?;
    hers.click("button", "archive").await?;
    his.shows("🔒 locked 🗄 archived").await?;
    his.write("Message", "too late").await?;
    his.click("button", "Send").await?;
    his.shows("Thread is archived").await?;
    let text = his.evaluate("document.querySelector('#text').value").await?;
    assert_eq!(text, json!("too late"), "nothing that was written is lost");
    discord.deny(*general, bob, Permissions::VIEW_CHANNEL)?;
    his.shows("no channel yet").await?;
    hers.click("button", "# general").await?;
    hers.shows("and the second").await?;
    discord.take_role(bob, discord.role("dev"))?;
    let alone = "document.querySelector('#user').innerText.includes('dev')";
    his.holds("no role", &format!("!{alone}")).await?;
    let message = discord.message(said).context("it is gone")?;
    assert!(!message.has_reaction(bob, "👍"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_a_refresh_fails_is_shown() -> Result<()> {
    let place = Place::new().await?;
    let tab = place.window("alice").await?;
    // The next time that messages are asked for, something changes, and they do not come.
    let fail = "const real = window.fetch;
        window.fetch = (path, options) => {
            if (!path.startsWith('/sim/messages')) return real(path, options);
            window.fetch = real;
            refresh();
            return Promise.reject(new Error('Missing Access'));
        };";
    tab.evaluate(&format!("{{ {fail} }}")).await?;
    place.post("seen all the same", Vec::new(), Vec::new())?;
    tab.shows("seen all the same").await?;
    let says = tab.evaluate("document.querySelector('#problem').textContent").await?;
    assert_eq!(says, json!(""), "what has passed is not complained of");
    Ok(())
}
