from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("orders/", views.orders, name="orders"),
    path("notes/", views.notes, name="notes"),
    path("whoami", views.whoami, name="whoami"),
    path("livez", views.livez),
]
handler404 = "shop.views.not_found"
