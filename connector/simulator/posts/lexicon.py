"""The words of synthetic posts: everyday nouns, a few per language."""

from __future__ import annotations

WORDS: dict[str, tuple[str, ...]] = {
    language: tuple(text.split())
    for language, text in {
        "en": "anchor amber orchard harbor lantern meadow timber pebble walnut candle"
        " heron feather quilt ember raft fig cedar dune opal saffron wren pier kite"
        " riverbed marmalade blanket evergreen rainbow waterfall in the a of near with"
        " and under beside over new old it's on",
        "es": "río montaña faro jardín piedra nube madera puerto limón viento hoja"
        " camino lámpara niño arena de la el con sobre y en mañana otoño",
        "pt": "rio montanha farol jardim pedra nuvem madeira porto limão vento folha"
        " caminho lâmpada areia de a o com sobre e em manhã outono pão",
        "de": "Fluss Berg Leuchtturm Garten Stein Wolke Holz Hafen Zitrone Wind Blatt"
        " Weg Lampe Straße Sand mit über und im am schön grün Äpfel",
        "fr": "rivière montagne phare jardin pierre nuage bois port citron vent feuille"
        " chemin lampe forêt sable avec sur et dans été château l'île",
        "tr": "nehir dağ fener bahçe taş bulut ahşap liman limon rüzgâr yaprak yol"
        " lamba orman kum ile ve için güzel yeşil gölge",
        "ar": "نهر جبل منارة حديقة حجر سحابة خشب ميناء ليمون ريح ورقة طريق مصباح رمل مع في على و جميل أخضر",
        "hi": "नदी पहाड़ बगीचा पत्थर बादल लकड़ी बंदरगाह नींबू हवा पत्ता रास्ता दीपक रेत के साथ और में सुंदर हरा",
        "ko": "강 산 등대 정원 돌 구름 나무 항구 레몬 바람 잎 길 등불 모래 그리고 아름다운 초록 아침 가을",
        "ja": "川 山 灯台 庭 石 雲 木 港 レモン 風 葉 道 ランプ 砂 と の は が きれい 緑 朝 秋 さんぽ",
        "th": "แม่น้ำ ภูเขา ประภาคาร สวน หิน เมฆ ไม้ ท่าเรือ มะนาว ลม ใบไม้ ทาง โคมไฟ ทราย และ ใน สวย เขียว",
    }.items()
}

UNSPACED = frozenset({"ja", "th"})
"""Languages that are written without spaces between words."""

EMOJI = (
    "🌊",
    "🪶",
    "👏",
    "🥁",
    "❤️",
    "3️⃣",
    "👩‍🌾",
    "🏝",
    "✨",
    "👍🏽",
    "🇺🇳",
)
"""Emoji inside and beyond the BMP, with variation selector, keycap, skin tone and joiner."""

DOMAINS: tuple[tuple[str, str], ...] = (
    ("30", "Keyboard [Walnut Inkwell]"),
    ("46", "Quilt Keyboard"),
    ("47", "Quilt"),
    ("29", "Meadow [Ferret Nursery]"),
    ("131", "Lantern Taxonomy"),
    ("66", "Orchard Category"),
)
"""Ids and names of context domains; the names are invented."""
