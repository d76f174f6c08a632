// SPDX-License-Identifier: Apache-2.0
// The frame of the pages that planish writes: one self-contained HTML file, light and dark, whose content security policy
// forbids it to fetch anything. Its script brings plots (base/plot.h, base/scatter.h) and sortable tables to life, and shows
// the text in `data-tip` of whatever is under the pointer.
#pragma once

#include <string>

namespace planish {

// `title` is plain text, `content` HTML. Classes for it: section.cards of HtmlCard, section.plots of figures, table.facts in
// div.scroll, td.number, em.good, em.bad, p.note, article with header and pre.
std::string HtmlPage(const std::string& title, const std::string& content);

// A figure one looks for first; plain texts.
std::string HtmlCard(const std::string& value, const std::string& name);

}  // namespace planish
