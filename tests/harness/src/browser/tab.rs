//! A window: what a person does in it and sees of it, each with a deadline.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::keys;
use super::wire::{self, Wire};
use crate::world::PATIENCE;

/// The size of a tab, in pixels; that of a picture of it as well.
const SIZE: (u32, u32) = (1200, 800);
/// How long after a refusal of Chromium's it is asked again: of a page that is being loaded, nothing
/// tells.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Counts the changes of a page, and tells whoever waits for one.
const WATCH: &str = "(() => {
    let count = 0;
    let waiting = [];
    const tell = () => { count += 1; const all = waiting; waiting = []; for (const done of all) done(); };
    const look = { subtree: true, childList: true, characterData: true, attributes: true };
    new MutationObserver(tell).observe(document, look);
    const after = (n) => (n < count ? true : new Promise((done) => waiting.push(() => done(true))));
    window.changes = { count: () => count, after };
})()";

/// A window of a browser.
#[derive(Debug)]
pub struct Tab<'b> {
    wire: &'b Wire,
    session: String,
}

impl<'b> Tab<'b> {
    /// Makes a session of Chromium's a window that shows an address.
    pub(super) async fn open(wire: &'b Wire, session: String, url: &str) -> Result<Self> {
        let tab = Self { wire, session };
        tab.prepare().await?;
        tab.ask("Page.navigate", json!({ "url": url })).await?;
        Ok(tab)
    }
}

/// What a person does.
impl Tab<'_> {
    /// Clicks at the last thing of this role and name that can be clicked at, when it is there.
    ///
    /// # Errors
    ///
    /// When it does not come.
    pub async fn click(&self, role: &str, name: &str) -> Result<()> {
        let what = format!("a click at the {role} {name:?}");
        let clicked = self.until(&what, async || {
            let Some(node) = self.find(role, name).await? else { return Ok(None) };
            Ok(self.click_at(&node).await?.then_some(()))
        });
        clicked.await
    }

    /// Presses the mouse at the last thing of this role and name, and lets it go when that is done
    /// which is done meanwhile.
    ///
    /// # Errors
    ///
    /// When there is no such thing, or what is done meanwhile fails.
    pub async fn hold(
        &self,
        role: &str,
        name: &str,
        meanwhile: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let node = self.find(role, name).await?.with_context(|| format!("no {role} {name:?}"))?;
        let (x, y) = self.middle_of(&node).await?;
        for event in keys::press(x, y) {
            self.ask("Input.dispatchMouseEvent", event).await?;
        }
        meanwhile.await?;
        self.ask("Input.dispatchMouseEvent", keys::release(x, y)).await?;
        Ok(())
    }

    /// Writes into the last field of this name, in place of what stands in it.
    ///
    /// # Errors
    ///
    /// When there is no such field.
    pub async fn write(&self, name: &str, text: &str) -> Result<()> {
        self.click("textbox", name).await?;
        self.evaluate("document.activeElement.select()").await?;
        self.ask("Input.insertText", json!({ "text": text })).await?;
        Ok(())
    }

    /// Presses Enter.
    ///
    /// # Errors
    ///
    /// When Chromium refuses.
    pub async fn enter(&self) -> Result<()> {
        for event in keys::enter() {
            self.ask("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Chooses the option that begins like this in the last menu of this name.
    ///
    /// # Errors
    ///
    /// When there is no such menu, or no such option.
    pub async fn choose(&self, menu: &str, option: &str) -> Result<()> {
        const CHOOSE: &str = "function (text) {
            const found = [...this.options].find((it) => it.label.startsWith(text));
            if (!found) return false;
            this.value = found.value;
            this.dispatchEvent(new Event('change', { bubbles: true }));
            return true;
        }";
        let what = format!("the option {option:?} of {menu:?}");
        let chosen = self.until(&what, async || {
            let Some(node) = self.find("combobox", menu).await? else { return Ok(None) };
            let chosen = self.call(&node, CHOOSE, &[json!(option)]).await?;
            Ok((chosen == json!(true)).then_some(()))
        });
        chosen.await
    }

    /// Puts files into the field that a selector names.
    ///
    /// # Errors
    ///
    /// When there is no such field.
    pub async fn attach(&self, selector: &str, files: &[&Path]) -> Result<()> {
        let find = format!("document.querySelector({})", json!(selector));
        let asked = json!({ "expression": find });
        let field = self.ask("Runtime.evaluate", asked).await?["result"]["objectId"].clone();
        ensure!(field.is_string(), "there is no {selector}");
        let files: Vec<_> = files.iter().map(|it| it.display().to_string()).collect();
        self.ask("DOM.setFileInputFiles", json!({ "objectId": field, "files": files })).await?;
        Ok(())
    }
}

/// What a person sees.
impl Tab<'_> {
    /// Waits until the page shows this text.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn shows(&self, text: &str) -> Result<()> {
        let is_there = format!("document.body.innerText.includes({})", json!(text));
        self.holds(&format!("{text:?}"), &is_there).await
    }

    /// Waits until the page does not show this text.
    ///
    /// # Errors
    ///
    /// When it goes on.
    pub async fn hides(&self, text: &str) -> Result<()> {
        let is_gone = format!("!document.body.innerText.includes({})", json!(text));
        self.holds(&format!("the end of {text:?}"), &is_gone).await
    }

    /// Waits until the page has something that a selector names.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn has(&self, selector: &str) -> Result<()> {
        let is_there = format!("Boolean(document.querySelector({}))", json!(selector));
        self.holds(selector, &is_there).await
    }

    /// Waits until an expression of the page's own language is true.
    ///
    /// # Errors
    ///
    /// When it does not become so.
    pub async fn holds(&self, what: &str, expression: &str) -> Result<()> {
        let look = async || Ok((self.evaluate(expression).await? == json!(true)).then_some(()));
        self.until(what, look).await
    }

    /// How many things of this role and name are there now.
    ///
    /// # Errors
    ///
    /// When Chromium refuses.
    pub async fn count(&self, role: &str, name: &str) -> Result<usize> {
        Ok(self.all(role, name).await?.len())
    }

    /// The value of an expression.
    ///
    /// # Errors
    ///
    /// When it throws.
    pub async fn evaluate(&self, expression: &str) -> Result<Value> {
        let asked = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
        });
        let mut told = self.ask("Runtime.evaluate", asked).await?;
        if told["exceptionDetails"].is_object() {
            bail!("{expression}: {}", told["exceptionDetails"]["exception"]["description"]);
        }
        Ok(told["result"]["value"].take())
    }

    /// A picture of what is shown now, as PNG, with the mouse out of the way.
    ///
    /// # Errors
    ///
    /// When Chromium makes none.
    pub async fn picture(&self) -> Result<Vec<u8>> {
        self.ask("Input.dispatchMouseEvent", keys::away()).await?;
        let told = self.ask("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let text = told["data"].as_str().context("no picture")?;
        wire::from_base64(text).context("the picture is no base64")
    }
}

/// How it is done.
impl Tab<'_> {
    async fn prepare(&self) -> Result<()> {
        let (width, height) = SIZE;
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
        for (method, params) in [
            ("Page.enable", json!({})),
            ("DOM.enable", json!({})),
            ("Accessibility.enable", json!({})),
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", dark),
            ("Emulation.setLocaleOverride", json!({ "locale": "en-GB" })),
            ("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH })),
        ] {
            self.ask(method, params).await?;
        }
        Ok(())
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value> {
        self.wire.ask(Some(&self.session), method, params).await
    }

    /// Looks now, and again after each change of the page.
    async fn until<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let waiting = async {
            loop {
                let seen = self.evaluate("window.changes?.count()").await;
                match look().await {
                    Ok(Some(found)) => return found,
                    Ok(None) => {}
                    // A page that is being loaded, or an element that was just redrawn.
                    Err(_) => sleep(LOOK_EVERY).await,
                }
                let changed = match seen {
                    Ok(Value::Number(n)) => self.evaluate(&format!("changes.after({n})")).await,
                    Ok(_) | Err(_) => Err(anyhow!("there is no page yet")),
                };
                if changed.is_err() {
                    sleep(LOOK_EVERY).await;
                }
            }
        };
        if let Ok(found) = timeout(PATIENCE, waiting).await {
            return Ok(found);
        }
        let shown = self.evaluate("document.body.innerText").await.unwrap_or_default();
        let shown = shown.as_str().unwrap_or_default();
        bail!("the page does not have {what} within {PATIENCE:?}; it shows:\n{shown}")
    }

    /// The last thing of this role and name that can be used.
    async fn find(&self, role: &str, name: &str) -> Result<Option<Value>> {
        Ok(self.all(role, name).await?.pop())
    }

    async fn all(&self, role: &str, name: &str) -> Result<Vec<Value>> {
        let page = self.ask("Runtime.evaluate", json!({ "expression": "document" })).await?;
        let asked = json!({
            "objectId": page["result"]["objectId"],
            "role": role,
            "accessibleName": name,
        });
        let mut told = self.ask("Accessibility.queryAXTree", asked).await?;
        let Value::Array(nodes) = told["nodes"].take() else { bail!("no nodes in {told}") };
        let is = |node: &Value, what: &str| {
            let all = node["properties"].as_array().into_iter().flatten();
            all.into_iter().any(|it| it["name"] == what && it["value"]["value"] == true)
        };
        let usable = |it: &Value| it["ignored"] != true && !is(it, "disabled");
        let nodes = nodes.into_iter().filter(usable);
        Ok(nodes.map(|mut it| it["backendDOMNodeId"].take()).collect())
    }

    /// Whether a click of the mouse at its middle reached it.
    async fn click_at(&self, node: &Value) -> Result<bool> {
        const LISTEN: &str = "function () {
            let clicked = false;
            const says = (it) => {
                const at = it.closest('label, button, a, input, textarea, select') ?? it;
                return [at.tagName, at.ariaLabel, at.textContent].join();
            };
            const own = says(this);
            // A page that has drawn it anew meanwhile clicks at what stands in its place. What else
            // has come under the mouse meanwhile is not clicked at.
            const isIt = (at) => this.contains(at) || (!this.isConnected && says(at) === own);
            const note = (event) => {
                clicked = isIt(event.target);
                if (clicked) return;
                event.preventDefault();
                event.stopImmediatePropagation();
            };
            document.addEventListener('click', note, { once: true, capture: true });
            this.heardOfClick = () => {
                document.removeEventListener('click', note, { capture: true });
                return clicked;
            };
        }";
        let object = self.object(node).await?;
        self.call_on(&object, LISTEN, &[]).await?;
        let (x, y) = self.middle_of(node).await?;
        for event in keys::press(x, y) {
            self.ask("Input.dispatchMouseEvent", event).await?;
        }
        self.ask("Input.dispatchMouseEvent", keys::release(x, y)).await?;
        let heard = self.call_on(&object, "function () { return this.heardOfClick(); }", &[]);
        Ok(heard.await? == json!(true))
    }

    /// The place of its middle, which is scrolled into view.
    async fn middle_of(&self, node: &Value) -> Result<(f64, f64)> {
        let at = json!({ "backendNodeId": node });
        self.ask("DOM.scrollIntoViewIfNeeded", at.clone()).await?;
        let quads = self.ask("DOM.getContentQuads", at).await?;
        let corner = |n: usize| quads["quads"][0][n].as_f64().context("it is nowhere");
        Ok((f64::midpoint(corner(0)?, corner(4)?), f64::midpoint(corner(1)?, corner(5)?)))
    }

    async fn object(&self, node: &Value) -> Result<Value> {
        let mut told = self.ask("DOM.resolveNode", json!({ "backendNodeId": node })).await?;
        Ok(told["object"]["objectId"].take())
    }

    async fn call(&self, node: &Value, function: &str, values: &[Value]) -> Result<Value> {
        let object = self.object(node).await?;
        self.call_on(&object, function, values).await
    }

    async fn call_on(&self, object: &Value, function: &str, values: &[Value]) -> Result<Value> {
        let values: Vec<_> = values.iter().map(|it| json!({ "value": it })).collect();
        let asked = json!({
            "objectId": object,
            "functionDeclaration": function,
            "arguments": values,
            "returnByValue": true,
        });
        let mut told = self.ask("Runtime.callFunctionOn", asked).await?;
        Ok(told["result"]["value"].take())
    }
}
