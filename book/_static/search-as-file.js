// Search shows a summary of each page it finds, for which it fetches the page. A page that was
// opened as a file may fetch nothing: there, search does without.
// @ts-expect-error A script of Sphinx, loaded before this one, declares the name.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
