"""How notebooks say that they are dark, or light: what they put around their outputs."""

IN_THE_DARK = (
    '[data-jp-theme-light="false"]',
    ".vscode-dark",
    ".vscode-high-contrast:not(.vscode-high-contrast-light)",
    "html[theme=dark]",
)
IN_THE_LIGHT = ('[data-jp-theme-light="true"]', ".vscode-light", "html[theme=light]")
