// The keys of tabs, as the ARIA Authoring Practices have them: arrows, Home and End move, Delete removes.

export function arrowKeys(tablist, show, remove = null) {
  tablist.addEventListener("keydown", (event) => {
    const tabs = [...tablist.children], at = tabs.indexOf(document.activeElement);
    if (event.key === "Delete" && remove) return remove();
    const targets = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 };
    if (at < 0 || !(event.key in targets)) return undefined;
    event.preventDefault();
    const next = (targets[event.key] + tabs.length) % tabs.length;
    show(next);
    return tablist.children[next].focus();
  });
}
