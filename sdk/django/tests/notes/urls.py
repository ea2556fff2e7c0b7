from django.http import JsonResponse
from django.urls import path

from .models import Note


def notes(request):
    return JsonResponse(list(Note.objects.values_list("text", flat=True)), safe=False)


urlpatterns = [path("notes", notes)]
