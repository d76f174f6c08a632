// SPDX-License-Identifier: Apache-2.0
// The frame of the pages that planish writes: one self-contained HTML file, light and dark, whose content security policy
// forbids it to fetch anything. Plots (base/plot.h) become alive by its script.
#pragma once

#include <string>

namespace planish {

// `title` is plain text, `content` HTML. Classes for it: section.cards of HtmlCard, section.plots of figures, table.facts in
// div.scroll, td.number, em.good, em.bad, p.note, article with header and pre.
std::string HtmlPage(const std::string& title, const std::string& content);

// A figure one looks for first; plain texts.
std::string HtmlCard(const std::string& value, const std::string& name);

}  // namespace planish
