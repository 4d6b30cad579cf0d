// Text as HTML: nothing that a machine or a person named can become markup.

/// Makes text safe inside HTML and SVG, in content and in attributes.
func escaped(_ text: String) -> String {
  var result = ""
  for character in text.unicodeScalars {
    switch character {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    case "'": result += "&#39;"
    // Control characters have no place in HTML, whatever a peer said.
    case _ where character.value < 0x20: result += " "
    default: result.unicodeScalars.append(character)
    }
  }
  return result
}
