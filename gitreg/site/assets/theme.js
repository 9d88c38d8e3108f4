'use strict';
// Before anything is drawn, so that no page flashes in the other theme.
try {
  const theme = localStorage.getItem('gitreg-theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch (error) { /* a browser that keeps nothing: the system decides */ }
